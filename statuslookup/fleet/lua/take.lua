-- A process says that it lives and which keys it waits for, and asks for the slot. With the slot come up to ask.most
-- keys, whoever waits for them. What may go when is the holders' policy: this compares times, and counts places.

local slot, is_changed = read_slot()
local last_call = tonumber(redis.call('ZSCORE', alive_key, me) or 0)
local was_away = last_call <= now or ask.lost

-- 1. Give up the places of those whose lease has ended: they send nothing any more, but what they had sent counts.
-- A place of mine that I do not know of was granted by a reply that was lost: nothing was sent. But if I have lost track
-- of what I held, it counts as if it had been sent until now.
local claimed, held, places, under_way, last_end, has_company = {}, {}, {}, 0, now, false
for _, fence in ipairs(ask.holds) do claimed[fence] = true end
for _, place in ipairs(slot.places) do
  local stays = true
  if is_under_way(place) then
    local lease_end = tonumber(redis.call('ZSCORE', alive_key, place.process) or now)
    if lease_end > FAR then lease_end = now end
    if lease_end <= now then
      place.state, place.at, is_changed = 'late', lease_end + ask.period, true
      slot.ready = math.max(slot.ready, lease_end + ask.interval)
    elseif place.process == me and not claimed[place.fence] then
      was_away, is_changed = true, true
      if ask.lost then
        place.state, place.at = 'late', now + ask.period
        slot.ready = math.max(slot.ready, now + ask.interval)
      else
        stays = false
        take_back(slot, place)
      end
      say_turn('free', slot, place.fence)
    else
      if place.process == me then
        table.insert(held, place.fence)
        lease_end = now + ask.lease
      end
      under_way, last_end = under_way + 1, math.max(last_end, lease_end)
      has_company = has_company or place.state == 'beside'
    end
  end
  if not is_under_way(place) then
    if place.at > FAR + ask.period then place.at = now + ask.period end
    stays = place.at > now
  end
  if stays then table.insert(places, place) end
end
slot.places = places

-- 2. I live for one more lease, or say farewell. What I had taken before I was away is to be asked by anybody, and what
-- I have lost track of.
redis.call('ZREMRANGEBYSCORE', alive_key, '-inf', now)
redis.call('ZREMRANGEBYSCORE', alive_key, FAR, '+inf')
if ask.leaves then
  redis.call('ZREM', alive_key, me)
else
  redis.call('ZADD', alive_key, now + ask.lease, me)
  redis.call('PEXPIRE', alive_key, 3600000)
end
if was_away then to_front(redis.call('ZRANGEBYSCORE', queue_key, mine, mine)) end

local lives = {}
local function is_alive(process)
  if lives[process] == nil then lives[process] = redis.call('ZSCORE', alive_key, process) ~= false end
  return lives[process]
end

-- Return under which score living processes have taken keys; what the dead have taken goes to the front.
local taken
local function find_taken()
  if taken then return taken end
  local orphans, of_living = {}, {}
  taken = {}
  local rows = redis.call('ZRANGEBYSCORE', queue_key, TAKEN, '+inf', 'WITHSCORES')
  for i = 1, #rows, 2 do
    local member, score = rows[i], rows[i + 1]
    if of_living[score] == nil then of_living[score] = is_alive(name_of(score - TAKEN)) end
    if of_living[score] then
      taken[key_in(member)] = score
    else
      orphans[#orphans + 1] = member
    end
  end
  to_front(orphans)
  return taken
end

-- 3. Remove before adding: a key that got its answer and is asked for anew comes in one call. A key that is under way
-- joins it. A key that is known stays where it is; only a get brings one from the bulk forward.
local prefix, gone = me .. ':', {}
for i, key in ipairs(ask.gone) do gone[i] = prefix .. key end
queue('ZREM', gone)
local function add(keys, band)
  local taken = #keys > 0 and find_taken()
  for i, key in ipairs(keys) do
    local member, score = prefix .. key, taken[key] or band + now + i * STEP
    if redis.call('ZADD', queue_key, 'NX', score, member) == 0 and band == FIRST then
      local before = tonumber(redis.call('ZSCORE', queue_key, member))
      if before >= BULK and before < TAKEN then redis.call('ZADD', queue_key, score, member) end
    end
  end
end
add(ask.first, FIRST)
add(ask.bulk, BULK)
redis.call('PEXPIRE', queue_key, 600000)

-- 4. From when on I may go, and why not before. If Redis has forgotten writes, nobody knows who sends.
local why
if math.max(slot.next, slot.ready) > FAR + ask.period then
  slot.next, slot.ready, slot.answered, is_changed = now + ask.interval, now + ask.interval, 0, true
end
if slot.fence < ask.seen then
  why, is_changed, slot.fence = 'forgotten', true, ask.seen
  slot.next = now + ask.lease + ask.interval
  slot.ready, slot.forgotten = slot.next, now + ask.lease + ask.period
end
local at = slot.next
if ask.alone then
  at = math.max(at, slot.ready, math.min(slot.answered, now) + ask.interval - ask.credit)
  if under_way > 0 then why, at = 'busy', math.max(at, last_end + ask.interval) end
  if has_company and ask.most ~= 0 then slot.drains, is_changed = now + ask.lease, true end
else
  local drains = math.max(slot.drains, slot.forgotten)
  if drains > now and drains < FAR + ask.period then why, at = why or 'busy', math.max(at, drains) end
end
if #slot.places >= ask.places then
  local free_at = {}
  for i, place in ipairs(slot.places) do free_at[i] = is_under_way(place) and last_end + ask.period or place.at end
  table.sort(free_at)
  at = math.max(at, free_at[#free_at - ask.places + 1])
  if under_way > 0 then why = 'busy' end
end
if at > now then
  why = why or 'paced'
else
  why = ask.most == 0 and 'ready' or slot.rung ~= ask.rung and 'pace' or 'taken'
end

-- 5. Choose the keys, first come, first served. Those of the dead are dropped on the way, and those under way passed
-- over. Others who wait for a chosen key are taken along, as far as was looked.
local keys = {}
if why == 'taken' and ask.most > 0 then
  local taken, chosen, marks, dropped, is_full = find_taken(), {}, {}, {}, false
  local rows, offset, look = nil, 0, math.max(ask.most, 50)
  repeat
    rows = redis.call('ZRANGEBYSCORE', queue_key, '-inf', '(' .. TAKEN, 'LIMIT', offset, look)
    for _, member in ipairs(rows) do
      local key = key_in(member)
      if not is_alive(process_in(member)) then
        dropped[#dropped + 1] = member
      elseif chosen[key] or (not is_full and not taken[key]) then
        if not chosen[key] then
          chosen[key], keys[#keys + 1] = true, key
          is_full = #keys == ask.most
        end
        marks[#marks + 1], marks[#marks + 2] = mine, member
      end
    end
    local is_end = #rows < look
    offset, look = offset + #rows, math.min(2 * look, CHUNK)
  until is_end or is_full
  queue('ZREM', dropped)
  queue('ZADD', marks)
  if #keys == 0 then why, at = 'idle', now + ask.lease end
end
if why == 'taken' then
  slot.fence, slot.next, is_changed = slot.fence + 1, now + ask.interval, true
  if ask.alone then slot.drains = 0 end
  table.insert(slot.places, { fence = slot.fence, process = me, state = ask.alone and 'alone' or 'beside', at = now })
  say_turn('taken', slot, slot.fence)
end
if is_changed then write_slot(slot) end
local calm = slot.calm > 0 and now - slot.calm or -1
return cjson.encode({
  why = why, wait = math.max(at - now, 0), fence = slot.fence, held = held, keys = keys, rung = slot.rung, calm = calm,
  alone = is_alone(), away = was_away,
})
