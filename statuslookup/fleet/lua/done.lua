-- The holder has a reply, or sends nothing after all: it frees its place, and what the reply told leaves the queue and
-- is heard by everybody. Repeated because Redis's answer was lost, this only tells everybody once more.

local slot, places, is_known, sent = read_slot(), {}, false, ask.sent ~= cjson.null and ask.sent
for _, place in ipairs(slot.places) do
  local is_meant = place.fence == ask.fence and place.process == me
  local is_held = is_meant and is_under_way(place)
  is_known = is_known or is_meant
  -- One that is late frees nothing for anybody, but now it is known until when the request may have counted.
  if is_meant and sent and place.state ~= 'over' then
    place.state, place.at, slot.answered = 'over', now + sent.cool, now
    slot.ready = math.max(slot.ready, now + sent.pause)
    slot.next = math.max(slot.next, now + sent.freeze)
    if sent.calm >= 0 and now - sent.calm >= slot.calm then slot.rung, slot.calm = sent.rung, now - sent.calm end
  elseif is_held then
    take_back(slot, place)
  end
  if sent or not is_held then table.insert(places, place) end
  if is_held then say_turn('free', slot, place.fence) end
end
slot.places = places
if is_known then write_slot(slot) end

-- What I have taken, whoever waits for it: the told leave the queue, and what comes back goes to its front.
local told, back, leaving, returning = {}, {}, {}, {}
for _, key in ipairs(ask.told) do told[key] = true end
for _, key in ipairs(ask.back) do back[key] = true end
for _, member in ipairs(#ask.told + #ask.back > 0 and redis.call('ZRANGEBYSCORE', queue_key, mine, mine) or {}) do
  local key = key_in(member)
  if told[key] then
    leaving[#leaving + 1] = member
  elseif back[key] then
    returning[#returning + 1] = member
  end
end
queue('ZREM', leaving)
to_front(returning)
if #ARGV[2] > 0 then redis.call('PUBLISH', ask.outcomes, ARGV[2]) end
