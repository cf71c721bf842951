"""What runs inside Redis. Each script is atomic, and may be run again after a lost reply.

A kind's documents are one hash: field = id, value = "GENERATION JSON". Every key of a fleet carries the same hash tag.
"""

from __future__ import annotations

from littoral_cloud.store.connection import Script

# KEYS  1 this change  2 audit stream  3 audit head  4 the lease of the fence (or 1 again)
#       then for each write: the kind's hash, the tombstone of the document
# ARGV  1 ms that a change is remembered  2 fencing token or ""  3 audit head that was chained from, or "" without audit
#       4 the new head  5 channel  6 number of writes  7 ms that a tombstone stays
#       then for each write: kind, id, expected generation or "", JSON or "" to delete;
#       or kind, id, "take", the name of the number that is to be one less
#       then for each audit line: canonical JSON, chain
# Gives {"done", "1,2,0"} | {"conflict", index from 0, generation there} | {"nothing", index} | {"head", head there} | {"lost"}
COMMIT = Script(
    """
local done = redis.call('GET', KEYS[1])
if done then return {'done', done} end
if ARGV[2] ~= '' and redis.call('GET', KEYS[4]) ~= ARGV[2] then return {'lost'} end
local writes = tonumber(ARGV[6])
local generations, bodies = {}, {}
for i = 0, writes - 1 do
  local id, expected, body = ARGV[9 + i * 4], ARGV[10 + i * 4], ARGV[11 + i * 4]
  local stored = redis.call('HGET', KEYS[5 + i * 2], id)
  local generation = stored and tonumber(string.match(stored, '^(%d+) ')) or 0
  if expected == 'take' then
    local before, left, after = string.match(stored or '', '^%d+ (.*"' .. body .. '":)(%d+)(.*)$')
    if not left or tonumber(left) < 1 then return {'nothing', tostring(i)} end
    body = before .. string.format('%d', tonumber(left) - 1) .. after
  elseif expected ~= '' and tonumber(expected) ~= generation then
    return {'conflict', tostring(i), string.format('%d', generation)}
  end
  if generation == 0 and body ~= '' then
    generation = tonumber(redis.call('GET', KEYS[6 + i * 2]) or '0')
  end
  generations[i], bodies[i] = generation, body
end
if ARGV[3] ~= '' then
  local head = redis.call('GET', KEYS[3]) or string.rep('0', 64)
  if head ~= ARGV[3] then return {'head', head} end
end
local result = {}
for i = 0, writes - 1 do
  result[i + 1] = bodies[i] == '' and '0' or string.format('%d', generations[i] + 1)
end
local reply = table.concat(result, ',')
redis.call('SET', KEYS[1], reply, 'PX', ARGV[1])
for i = 0, writes - 1 do
  local id, body = ARGV[9 + i * 4], bodies[i]
  if body ~= '' then
    redis.call('HSET', KEYS[5 + i * 2], id, result[i + 1] .. ' ' .. body)
  elseif generations[i] > 0 then
    redis.call('HDEL', KEYS[5 + i * 2], id)
    redis.call('SET', KEYS[6 + i * 2], string.format('%d', generations[i]), 'PX', ARGV[7])
  end
end
if ARGV[3] ~= '' then
  for i = 8 + writes * 4, #ARGV, 2 do
    redis.call('XADD', KEYS[2], '*', 'line', ARGV[i], 'chain', ARGV[i + 1])
  end
  redis.call('SET', KEYS[3], ARGV[4])
  redis.call('PUBLISH', ARGV[5], 'audit ')
end
for i = 0, writes - 1 do
  redis.call('PUBLISH', ARGV[5], ARGV[8 + i * 4] .. ' ' .. ARGV[9 + i * 4])
end
return {'done', reply}
"""
)

# KEYS 1 audit stream   ARGV 1 start, "-" or "(ID"  2 count
AUDIT = Script("return redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])")

# KEYS 1 audit stream
AUDIT_LAST = Script("return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)")

# KEYS 1 any of the fleet, for its place   ARGV 1 cursor, "0" to begin  2 pattern. Gives {cursor, keys}; "0" again: that was all.
SCAN = Script("return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000)")

# KEYS 1 lease  2 counter of tokens  3 this attempt   ARGV 1 ms to live
# Gives {"acquired", token} or {"wait", ms that the holder has left}. A repeated attempt gets its token again.
ACQUIRE = Script(
    """
local mine = redis.call('GET', KEYS[3])
local holder = redis.call('GET', KEYS[1])
if holder then
  if holder == mine then return {'acquired', holder} end
  return {'wait', tostring(redis.call('PTTL', KEYS[1]))}
end
local token = string.format('%d', redis.call('INCR', KEYS[2]))
redis.call('SET', KEYS[3], token, 'PX', ARGV[1])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return {'acquired', token}
"""
)

# KEYS 1 lease   ARGV 1 token  2 ms to live. Gives 1, or 0 when it is not ours any more.
RENEW = Script(
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
)

# KEYS 1 lease   ARGV 1 token  2 channel  3 name
RELEASE = Script(
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], 'lease ' .. ARGV[3])
return 1
"""
)
