-- The holder has a reply, or sends nothing after all: it frees its place, and what the reply told leaves the queue and
-- is heard by everybody. Repeated because Redis's answer was lost, this only tells everybody once more.

local slot, sent = read_slot(), ask.sent ~= cjson.null and ask.sent
local place, position
for i, each in ipairs(slot.places) do
  if each.fence == ask.fence and each.process == me then place, position = each, i end
end
local is_held = place and is_under_way(place)

if sent and not (place and place.state == 'over') then
  -- Late, or forgotten by a Redis that lost writes, it frees nothing for anybody. But now it is known until when the
  -- request may have counted.
  if not place then
    place = { fence = ask.fence, process = me }
    table.insert(slot.places, place)
  end
  place.state, place.at, slot.answered = 'over', now + sent.cool, now
  slot.ready = math.max(slot.ready, now + sent.pause)
  slot.next = math.max(slot.next, now + sent.freeze)
  if sent.calm >= 0 and now - sent.calm >= slot.calm then slot.rung, slot.calm = sent.rung, now - sent.calm end
  write_slot(slot)
elseif is_held then
  take_back(slot, place)
  table.remove(slot.places, position)
  write_slot(slot)
end
if is_held then say_turn('free', slot, ask.fence) end

-- What I have taken, whoever waits for it: the told leave the queue, and what comes back goes to its front.
local told, back, leaving, returning, has_others = {}, {}, {}, {}, false
for _, key in ipairs(ask.told) do told[key] = true end
for _, key in ipairs(ask.back) do back[key] = true end
for _, member in ipairs(#ask.told + #ask.back > 0 and redis.call('ZRANGEBYSCORE', queue_key, mine, mine) or {}) do
  local key = key_in(member)
  if told[key] then
    leaving[#leaving + 1] = member
    has_others = has_others or process_in(member) ~= me
  elseif back[key] then
    returning[#returning + 1] = member
  end
end
to_front(returning)
-- Who believes to be alone has no message for others. If it is not alone, the told stay until it has told them.
local is_owed = ask.quiet and #ask.told > 0 and (has_others or not is_alone())
if not is_owed then queue('ZREM', leaving) end
if #ARGV[2] > 0 then redis.call('PUBLISH', ask.outcomes, ARGV[2]) end
return is_owed and 1 or 0
