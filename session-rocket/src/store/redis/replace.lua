-- Replaces a record with another record or with a tombstone.
-- ARGV: now, the new value, the milliseconds for which Redis keeps it, the expected version or '' for any version.
-- After a success, replies {scope, identity} of the old record, or false if the old record had no identity.
if not entry then
  return ''
end
if entry:byte(1) ~= 1 or ARGV[4] ~= '' and entry:sub(10, 17) ~= ARGV[4] then
  return entry
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return owner()
