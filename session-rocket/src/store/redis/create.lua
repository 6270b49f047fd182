-- Stores a record if the key is free.
-- ARGV: now, the record, the milliseconds for which Redis keeps it.
if entry then
  return ''
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return false
