"""The site on Django: `gunicorn comparison_site:application`, with the URL of the store in `STORE`."""

import os
import socket
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import path


def database(store):
    if store.scheme != "postgres":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": store.path}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": store.path.strip("/"),
        "HOST": store.hostname,
        "PORT": store.port,
        "USER": store.username,
        "PASSWORD": store.password,
    }


def configure(url):
    options = {"INSTALLED_APPS": ["django.contrib.sessions"]}
    if url.startswith("redis:"):
        options["SESSION_ENGINE"] = "django.contrib.sessions.backends.cache"
        options["CACHES"] = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}}
    else:
        options["DATABASES"] = {"default": database(urlsplit(url))}
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="constant, so that cookies stay valid after a restart of the site",
        **options,
    )
    django.setup()
    if "DATABASES" in options:
        call_command("migrate", verbosity=0)


def read(request):
    return HttpResponse(request.session.get("num_visits", 0))


def count(request):
    request.session["num_visits"] = request.session.get("num_visits", 0) + 1
    return HttpResponse(request.session["num_visits"])


def logout(request):
    request.session.flush()
    return HttpResponse()


def slow(request, port):
    number = request.session.get("num_visits", 0) + 1
    socket.create_connection(("127.0.0.1", port)).recv(1)
    request.session["num_visits"] = number
    return HttpResponse(number)


urlpatterns = [path("get", read), path("count", count), path("logout", logout), path("slow/<int:port>", slow)]
configure(os.environ["STORE"])
application = WSGIHandler()
