"""What runs inside Redis. Each script is atomic, and may be run again after a lost reply.

A kind's documents are one hash: field = id, value = "GENERATION JSON". Every key of a fleet carries the same hash tag.
"""

from __future__ import annotations

from littoral_cloud.store.connection import Script

# Appends to the stream of changes: entry NUMBER-NONCE, whose fields are KIND "GENERATION ID" each. The number grows by one with
# each entry, so that a reader sees where entries were cut off. By the nonce it sees that the stream is another one than it has
# read, after a failover or a restored backup.
_APPEND = """
local function append(stream, counter, cap, nonce, fields)
  local position = 0
  for start = 1, #fields, 2000 do
    position = redis.call('INCR', counter)
    local id = string.format('%d', position) .. '-' .. nonce
    redis.call('XADD', stream, 'MAXLEN', '~', cap, id, unpack(fields, start, math.min(start + 1999, #fields)))
  end
  return position
end
"""

# Several changes at once: all are written, or none is.
# KEYS  1 audit stream  2 audit head  3 stream of changes  4 its counter
#       then for each change: this change  the lease of its fence (or the change again)
#       and for each of its writes: the kind's hash, the tombstone of the document
# ARGV  1 ms that a change is remembered  2 audit head that was chained from, or "" without audit  3 the new head
#       4 ms that a tombstone stays  5 entries that the stream of changes has at most  6 nonce  7 number of changes
#       then for each change: "1" where it is remembered  fencing token or ""  number of writes
#       and for each of its writes: kind, id, expected generation or "", JSON or "" to delete, "q" where it is quiet and "i" where
#       ids of its kind are in order; or kind, id, "take", the name of the number that is to be one less, the same letters
#       then for each audit line: canonical JSON, chain
# Gives {"done", position, replies "1,2,0" ...} | {"head", head there}
#       | {"some", results ...} where a change cannot be written, or was before. A result is {"fits"} | {"done", "1,2,0"}
#         | {"conflict", index from 0, generation there} | {"nothing", index} | {"lost"}
COMMIT = Script(
    _APPEND
    + """
local results, all_fit, plans = {}, true, {}
local key, arg = 5, 8
for c = 1, tonumber(ARGV[7]) do
  local plan = {key = KEYS[key], remembered = ARGV[arg] == '1', writes = {}}
  local token, lease, count = ARGV[arg + 1], KEYS[key + 1], tonumber(ARGV[arg + 2])
  key, arg = key + 2, arg + 3
  local result = {'fits'}
  local done = plan.remembered and redis.call('GET', plan.key)
  if done then
    result = {'done', done}
  elseif token ~= '' and redis.call('GET', lease) ~= token then
    result = {'lost'}
  end
  for i = 0, count - 1 do
    local kind, id, expected, body, letters = ARGV[arg], ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3], ARGV[arg + 4]
    local docs, tombstone = KEYS[key], KEYS[key + 1]
    key, arg = key + 2, arg + 5
    if result[1] == 'fits' then
      local stored = redis.call('HGET', docs, id)
      local generation = stored and tonumber(string.match(stored, '^(%d+) ')) or 0
      if expected == 'take' then
        local before, left, after = string.match(stored or '', '^%d+ (.*"' .. body .. '":)(%d+)(.*)$')
        if not left or tonumber(left) < 1 then
          result = {'nothing', tostring(i)}
        else
          body = before .. string.format('%d', tonumber(left) - 1) .. after
        end
      elseif expected ~= '' and tonumber(expected) ~= generation then
        result = {'conflict', tostring(i), string.format('%d', generation)}
      end
      if generation == 0 and body ~= '' then
        generation = tonumber(redis.call('GET', tombstone) or '0')
      end
      plan.writes[i + 1] = {docs, tombstone, kind, id, generation, body, letters, not stored}
    end
  end
  all_fit = all_fit and result[1] == 'fits'
  results[c], plans[c] = result, plan
end
if not all_fit then return {'some', unpack(results)} end
if ARGV[2] ~= '' then
  local head = redis.call('GET', KEYS[2]) or string.rep('0', 64)
  if head ~= ARGV[2] then return {'head', head} end
end
local fields, replies = {}, {}
for c, plan in ipairs(plans) do
  local reply = {}
  for i, write in ipairs(plan.writes) do
    local docs, tombstone, kind, id, generation, body, letters, is_new = unpack(write)
    local new = body == '' and '0' or string.format('%d', generation + 1)
    reply[i] = new
    if body ~= '' then
      redis.call('HSET', docs, id, new .. ' ' .. body)
    elseif generation > 0 then
      redis.call('HDEL', docs, id)
      redis.call('SET', tombstone, string.format('%d', generation), 'PX', ARGV[4])
    end
    if string.find(letters, 'i') then
      local ids = string.gsub(docs, ':docs:', ':ids:', 1)
      if body == '' then redis.call('ZREM', ids, id) elseif is_new then redis.call('ZADD', ids, 0, id) end
    end
    if not string.find(letters, 'q') then
      fields[#fields + 1] = kind
      fields[#fields + 1] = new .. ' ' .. id
    end
  end
  replies[c] = table.concat(reply, ',')
  if plan.remembered then redis.call('SET', plan.key, replies[c], 'PX', ARGV[1]) end
end
if ARGV[2] ~= '' then
  for i = arg, #ARGV, 2 do
    redis.call('XADD', KEYS[1], '*', 'line', ARGV[i], 'chain', ARGV[i + 1])
  end
  redis.call('SET', KEYS[2], ARGV[3])
  fields[#fields + 1] = 'audit'
  fields[#fields + 1] = '0 '
end
local position = append(KEYS[3], KEYS[4], ARGV[5], ARGV[6], fields)
return {'done', position, unpack(replies)}
"""
)

# KEYS the hash of each document's kind   ARGV its id. Gives "GENERATION JSON", or nothing, for each.
GET_MANY = Script(
    """
local found = {}
for i, docs in ipairs(KEYS) do found[i] = redis.call('HGET', docs, ARGV[i]) end
return found
"""
)

# KEYS 1 a kind's hash  2 its ids in order   ARGV 1 "-", or "(ID" for those behind it  2 how many
# Gives {id, "GENERATION JSON", ...}. Ids of a kind that was written before its ids were in order are put in order first.
PAGE_IN_ORDER = Script(
    """
if redis.call('EXISTS', KEYS[2]) == 0 then
  for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do redis.call('ZADD', KEYS[2], 0, id) end
end
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], '+', 'LIMIT', 0, ARGV[2])) do
  found[#found + 1] = id
  found[#found + 1] = redis.call('HGET', KEYS[1], id)
end
return found
"""
)

# KEYS 1 a kind's hash   ARGV 1 cursor, "0" to begin  2 how many, about. Gives {cursor, {id, "GENERATION JSON", ...}}.
PAGE = Script("return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])")

# KEYS 1 audit stream   ARGV 1 start, "-" or "(ID"  2 count
AUDIT = Script("return redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])")

# KEYS 1 audit stream   ARGV 1 the id before which  2 how many
AUDIT_BEFORE = Script("return redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[2])")

# KEYS 1 audit stream   ARGV 1 id of the last line to cut  2 its chain  3 the first id after it
# Gives {"cut", how many} or {"other"} where that line is missing or has another chain. A repeated one cuts nothing.
CUT_AUDIT = Script(
    """
if #redis.call('XRANGE', KEYS[1], '-', ARGV[1], 'COUNT', 1) == 0 then return {'cut', 0} end
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return {'other'} end
local chain
for i = 1, #found[2], 2 do
  if found[2][i] == 'chain' then chain = found[2][i + 1] end
end
if chain ~= ARGV[2] then return {'other'} end
return {'cut', redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[3])}
"""
)

# KEYS 1 any of the fleet, for its place   ARGV 1 cursor, "0" to begin  2 pattern. Gives {cursor, keys}; "0" again: that was all.
SCAN = Script("return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000)")

# KEYS 1 a key of its own. Writes it, so that a Redis that takes no writes says so.
TOUCH = Script("return redis.call('SET', KEYS[1], '1', 'PX', 60000)")

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

# KEYS 1 lease  2 stream of changes  3 its counter   ARGV 1 token  2 name  3 entries that the stream has at most  4 nonce
RELEASE = Script(
    _APPEND
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
append(KEYS[2], KEYS[3], ARGV[3], ARGV[4], {'lease', '0 ' .. ARGV[2]})
return 1
"""
)
