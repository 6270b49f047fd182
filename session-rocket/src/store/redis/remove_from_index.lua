-- Removes keys from the index KEYS[1] of an identity. ARGV: each key with the score that the caller read. A key stays if
-- its score has changed, because another call has added the key again.
for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return false
