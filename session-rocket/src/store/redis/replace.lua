-- Replaces a record by another record or by a tombstone.
-- ARGV: now, the new value, milliseconds to keep it, the version to replace or '' for any.
-- Replies the owner of the record that it replaced.
if not entry then
  return ''
end
if entry:byte(1) ~= 1 or ARGV[4] ~= '' and entry:sub(10, 17) ~= ARGV[4] then
  return entry
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return owner()
