-- What both scripts begin with: what is asked, the slot as Redis holds it, and names for what they do with it.
-- All times are milliseconds of this Redis. What is read may be lost, foreign or torn, so nothing of it is trusted.

local slot_key, alive_key, queue_key = KEYS[1], KEYS[2], KEYS[3]
local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local FAR = now + 120000 -- nothing lasts as long, but for what a long period keeps: this Redis's clock went back

-- A member of the queue is "process:key", the process with 13 digits, which make it quick to read. Its score says where
-- it stands and, in most bands, since when.
local FRONT, FIRST, BULK, TAKEN = -1e12, 0, 1e13, 2e13
local function name_of(process) return string.format('%013.0f', process) end
local function process_in(member) return member:sub(1, 13) end
local function key_in(member) return member:sub(15) end
local me = name_of(ask.process)
local mine = string.format('%.0f', TAKEN + ask.process) -- the score of all that this process has taken
local STEP = 0.004 -- keeps the keys of one call in order, and is not lost in a score as large as these
local CHUNK = 1000 -- Lua passes a few thousand arguments at once, not more

-- Return the number that a text is, and 0 for everything else: a fence with more than 14 digits would be rounded on its
-- way to a process, which could never claim it. Processes believe in less than this, so that one more is never too much.
local function number(text)
  local value = text and text:find('^%d+%.?%d*$') and tonumber(text) or 0
  return value < 1e13 and value or 0
end

local function queue(command, arguments)
  for first = 1, #arguments, CHUNK do
    redis.call(command, queue_key, unpack(arguments, first, math.min(first + CHUNK - 1, #arguments)))
  end
end

-- Whether no other process lives, of any account. Nobody counts whose lease ended, once anybody has called since.
local function is_alone()
  return redis.call('ZCARD', alive_key) == 1 and redis.call('ZSCORE', alive_key, me) ~= false
end

-- Put members before all others, in their order, and behind those that one call has put there already.
local returned = 0
local function to_front(members)
  local scores = {}
  for _, member in ipairs(members) do
    returned = returned + 1
    table.insert(scores, now + FRONT + returned * STEP)
    table.insert(scores, member)
  end
  queue('ZADD', scores)
end

-- The slot: from "next" on a request may go at all, and from "ready" on one that goes alone. One that goes beside others
-- waits until "drains", because one that goes alone wants to, and until "forgotten", when nothing counts any more that
-- Redis does not know of. "answered" is the moment of the last reply, and "rung" and "calm" are where the holders'
-- pacers stand. Each request has a place: "alone" or "beside" others since "at", until it is "over" or, because its
-- process did not come back in time, "late"; then it is counted until "at".
local NUMBERS = { 'fence', 'next', 'ready', 'drains', 'forgotten', 'answered', 'rung', 'calm', 'written' }
local TIMES = { 'next', 'ready', 'drains', 'forgotten', 'answered', 'calm' }

-- Return the slot, and whether it has to be written: if this Redis's clock was set back since it was written last, all
-- is as far ahead as it was then.
local function read_slot()
  local fields = redis.call('HMGET', slot_key, 'places', unpack(NUMBERS))
  local slot = { places = {} }
  for i, name in ipairs(NUMBERS) do slot[name] = number(fields[i + 1]) end
  for fence, process, state, at in (fields[1] or ''):gmatch('(%d+) (%d+) (%l+) (%d+%.%d+)') do
    table.insert(slot.places, { fence = number(fence), process = process, state = state, at = number(at) })
  end
  local back = slot.written - now
  if back > 0 then
    for _, name in ipairs(TIMES) do slot[name] = math.max(slot[name] - back, 0) end
    for _, place in ipairs(slot.places) do place.at = math.max(place.at - back, 0) end
  end
  return slot, back > 0
end

local function write_slot(slot)
  slot.written = now
  local fields = {}
  for _, name in ipairs(NUMBERS) do
    table.insert(fields, name)
    table.insert(fields, string.format('%.3f', slot[name])) -- tostring() keeps 14 digits
  end
  local places = {}
  for i, place in ipairs(slot.places) do
    places[i] = string.format('%.0f %s %s %.3f', place.fence, place.process, place.state, place.at)
  end
  redis.call('HSET', slot_key, 'places', table.concat(places, ','), unpack(fields))
  redis.call('PEXPIRE', slot_key, 86400000)
end

local function is_under_way(place)
  return place.state == 'alone' or place.state == 'beside'
end

-- Nothing was sent in the place: the next request may go as if it had never been granted.
local function take_back(slot, place)
  if place.fence == slot.fence and slot.next <= place.at + ask.interval then slot.next = place.at end
end

-- Say that the slot is taken or free, and in how many milliseconds it can be had beside others, and alone.
local function say_turn(what, slot, fence)
  local beside, alone = math.max(slot.next - now, 0), math.max(slot.next - now, slot.ready - now, 0)
  redis.call('PUBLISH', ask.turns, string.format('%s %.0f %s %.0f %.0f', what, fence, me, beside, alone))
end
