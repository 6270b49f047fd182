-- Adds the key of a session to the index KEYS[1] of an identity, and removes the entries that are no longer kept.
-- ARGV: the current second, the hour until which the entry is kept, the milliseconds for which it is kept, the key.
-- A score is the hour until which an entry is kept, times HOUR_FACTOR, plus the second in which the entry was added. So
-- all entries to remove are in one range of scores.
local HOUR_FACTOR = 4294967296
local now, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
local over = string.format('(%.0f', math.floor(now / 3600) * HOUR_FACTOR)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', over)
local score = redis.call('ZSCORE', KEYS[1], ARGV[4])
if score then
  keep = math.max(keep, math.floor(tonumber(score) / HOUR_FACTOR))
end
redis.call('ZADD', KEYS[1], string.format('%.0f', keep * HOUR_FACTOR + now), ARGV[4])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return false
