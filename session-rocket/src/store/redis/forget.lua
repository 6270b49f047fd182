-- Takes keys out of the index KEYS[1] of an identity. ARGV: a key and the score it had, and so on: whoever was put
-- there again meanwhile has another, and stays.
for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return false
