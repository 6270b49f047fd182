-- ARGV: now, the tombstone, milliseconds to keep it, the version to end or '' for any, the owner or '' for any.
-- Replies the owner of the record that it ended.
if not held then
  return ''
end
if held:byte(1) ~= 1
  or ARGV[4] ~= '' and held:sub(10, 17) ~= ARGV[4]
  or held:sub(34, 33 + #ARGV[5]) ~= ARGV[5] then
  return held
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return owner()
