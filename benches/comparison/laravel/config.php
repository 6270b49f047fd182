<?php

// The configuration of a new Laravel site, reduced to the settings that sessions need.

$store = getenv('STORE');
$scheme = strtok($store, ':');
$path = strtok('?');

return [
    'app' => [
        // Constant, so that cookies stay valid after a restart of the site.
        'key' => str_repeat('k', 32),
        'cipher' => 'AES-256-CBC',
        'locale' => 'en',
        'fallback_locale' => 'en',
        'providers' => array_map(fn (string $name) => "Illuminate\\{$name}ServiceProvider", [
            'Auth\Auth', 'Cache\Cache', 'Cookie\Cookie', 'Database\Database', 'Encryption\Encryption',
            'Filesystem\Filesystem', 'Hashing\Hash', 'Redis\Redis', 'Session\Session', 'Translation\Translation',
            'View\View',
        ]),
    ],
    'auth' => [
        'defaults' => ['guard' => 'web'],
        'guards' => ['web' => ['driver' => 'session', 'provider' => 'users']],
        'providers' => ['users' => ['driver' => 'database', 'table' => 'users']],
    ],
    'cache' => ['stores' => ['redis' => ['driver' => 'redis', 'connection' => 'default']], 'prefix' => 'laravel_cache'],
    'database' => [
        'default' => $scheme,
        'connections' => [
            'sqlite' => ['driver' => 'sqlite', 'database' => $path],
            'postgres' => ['driver' => 'pgsql', 'url' => $store, 'charset' => 'utf8'],
        ],
        'redis' => ['client' => 'phpredis', 'default' => ['url' => $store]],
    ],
    'logging' => [
        'default' => 'none',
        'channels' => ['none' => ['driver' => 'monolog', 'handler' => Monolog\Handler\NullHandler::class]],
    ],
    'session' => [
        'driver' => $scheme === 'redis' ? 'redis' : 'database',
        'lifetime' => 120,
        'expire_on_close' => false,
        'encrypt' => false,
        'connection' => null,
        'table' => 'sessions',
        'store' => null,
        'lottery' => [2, 100],
        'cookie' => 'laravel_session',
        'path' => '/',
        'domain' => null,
        'secure' => null,
        'http_only' => true,
        'same_site' => 'lax',
    ],
    'view' => ['paths' => [], 'compiled' => getenv('DIRECTORY')],
];
