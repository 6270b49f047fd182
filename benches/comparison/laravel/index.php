<?php

// The site on Laravel. `php index.php` creates the table; `php -S 127.0.0.1:PORT index.php` serves. The URL of the store is in
// `STORE`, and a directory for temporary files in `DIRECTORY`.

require 'Illuminate/autoload.php';

use Illuminate\Cookie\Middleware\EncryptCookies;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Foundation\Application;
use Illuminate\Foundation\Bootstrap\LoadConfiguration;
use Illuminate\Foundation\Exceptions\Handler;
use Illuminate\Foundation\Http\Kernel;
use Illuminate\Http\Request;
use Illuminate\Session\Middleware\StartSession;

final class Configuration extends LoadConfiguration
{
    protected function loadConfigurationFiles($app, $repository)
    {
        $repository->set(require __DIR__ . '/config.php');
    }
}

final class Site extends Kernel
{
    protected $middlewareGroups = ['web' => [EncryptCookies::class, StartSession::class]];
}

function count_visit(Request $request, int $number): int
{
    $request->session()->put('num_visits', $number + 1);

    return $number + 1;
}

function add_routes($router): void
{
    $number = fn (Request $request) => $request->session()->get('num_visits', 0);
    $router->get('get', fn (Request $request) => $number($request));
    $router->get('count', fn (Request $request) => count_visit($request, $number($request)));
    $router->get('logout', fn (Request $request) => $request->session()->invalidate());
    $router->get('slow/{port}', function (Request $request, int $port) use ($number) {
        $loaded = $number($request);
        fgets(stream_socket_client("tcp://127.0.0.1:$port"));

        return count_visit($request, $loaded);
    });
}

function create_table($app): void
{
    $schema = $app['db']->connection()->getSchemaBuilder();
    if (! $schema->hasTable('sessions')) {
        $schema->create('sessions', function (Blueprint $table) {
            $table->string('id')->primary();
            $table->foreignId('user_id')->nullable()->index();
            $table->string('ip_address', 45)->nullable();
            $table->text('user_agent')->nullable();
            $table->text('payload');
            $table->integer('last_activity')->index();
        });
    }
}

$directory = getenv('DIRECTORY');
is_dir("$directory/bootstrap/cache") || mkdir("$directory/bootstrap/cache", recursive: true);
$app = new Application($directory);
$app->bind(LoadConfiguration::class, Configuration::class);
$app->singleton(Illuminate\Contracts\Debug\ExceptionHandler::class, Handler::class);
$site = $app->make(Site::class);
$site->bootstrap();
if (PHP_SAPI === 'cli') {
    create_table($app);
} else {
    $app['router']->middleware('web')->group(fn ($router) => add_routes($router));
    $site->handle(Request::capture())->send();
}
