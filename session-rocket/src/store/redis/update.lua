-- ARGV: now, the record, milliseconds to keep it, the version to replace.
if not held then
  return ''
end
if held:byte(1) ~= 1 or held:sub(10, 17) ~= ARGV[4] then
  return held
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return false
