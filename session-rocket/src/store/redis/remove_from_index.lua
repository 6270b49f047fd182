-- Removes keys from the index KEYS[1] of an identity. ARGV: pairs of a key and its score. A key that was added again
-- meanwhile has another score, and stays.
for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return false
