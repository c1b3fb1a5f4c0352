-- Somebody wants to know what goes on: this only reads. KEYS[3] and further ones are the accounts' queues.

local slot = read_slot()
local seen = { wait = math.max(slot.next - now, slot.ready - now, 0), rung = slot.rung, fence = slot.fence }
seen.living, seen.requests, seen.accounts = {}, {}, {}
local rows = redis.call('ZRANGEBYSCORE', alive_key, now, FAR, 'WITHSCORES')
for i = 1, #rows, 2 do
  table.insert(seen.living, { process = rows[i], lives_for = rows[i + 1] - now })
end
for _, place in ipairs(slot.places) do
  local is_alive = redis.call('ZSCORE', alive_key, place.process)
  if is_under_way(place) and is_alive and tonumber(is_alive) > now then
    table.insert(seen.requests, { process = place.process, since = now - place.at })
  end
end
for i = 3, #KEYS do
  local function count(from, to) return redis.call('ZCOUNT', KEYS[i], from, '(' .. to) end
  table.insert(seen.accounts, {
    queue = KEYS[i], first = count('-inf', BULK), bulk = count(BULK, TAKEN), taken = count(TAKEN, '+inf'),
  })
end
return cjson.encode(seen)
