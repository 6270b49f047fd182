-- Removes keys from the index KEYS[1] of an identity. ARGV: a key and its score, and so on. A key that was added again
-- in between has another score, and stays.
for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return false
