/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_server.h"

#include "core/interrupt.h"
#include "core/pool.h"
#include "core/text.h"
#include "net/connection.h"
#include "net/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define BACKLOG 1024
#define TICK_SECONDS 1
#define FD_RESERVE 128U // bundles, logs, event loops

enum message_kind { MESSAGE_CONNECTION, MESSAGE_RESUME, MESSAGE_DRAIN };
struct message {
    enum message_kind kind;
    int fd;
    struct kp_net_address peer;
    SSL_CTX *tls;
    uint64_t ticket;
};

struct runner { /* a worker with its thread and mailbox */
    struct kp_worker worker;
    struct kp_http_server *server;
    pthread_t thread;
    bool started;
    int wake; /* eventfd */
    struct event *wake_event, *tick;
    pthread_mutex_t lock;
    struct message *messages;
    size_t message_count, message_room;
    double drain_until;
};

struct listener {
    struct kp_http_server *server;
    struct kp_net_address address;
    bool tls;
    int fd;
    struct event *event;
};

struct kp_http_server {
    struct kp_http_server_settings settings;
    SSL_CTX *tls;
    struct kp_census *census;
    struct listener listeners[KP_HTTP_LISTENERS_MAX];
    struct runner *runners;
    unsigned turn;
    struct event_base *base; /* the acceptor's */
    struct event *stop_event, *interrupt_event, *pause;
    int stop;                   /* eventfd */
    uint64_t accepted, refused; /* atomic */
};

/* --- workers --- */

static void post(struct runner *runner, const struct message *message)
{
    pthread_mutex_lock(&runner->lock);
    if (runner->message_count == runner->message_room) {
        runner->message_room = runner->message_room ? 2 * runner->message_room : 16;
        runner->messages =
            kp_realloc_array(runner->messages, runner->message_room, sizeof(*message));
    }
    runner->messages[runner->message_count++] = *message;
    pthread_mutex_unlock(&runner->lock);
    uint64_t one = 1;
    ssize_t ignored = write(runner->wake, &one, sizeof(one));
    (void)ignored; // a full counter wakes as well
}

static void handle_message(struct runner *runner, const struct message *message)
{
    switch (message->kind) {
    case MESSAGE_CONNECTION:
        kp_connection_start(&runner->worker, message->fd, &message->peer, message->tls);
        break;
    case MESSAGE_RESUME:
        kp_connection_resume(&runner->worker, message->ticket);
        break;
    case MESSAGE_DRAIN:
        runner->worker.draining = true;
        runner->drain_until = kp_now() + runner->server->settings.drain_seconds;
        kp_connections_check(&runner->worker, kp_now());
        break;
    }
}

static void end_if_drained(struct runner *runner)
{
    if (runner->worker.draining && kp_now() >= runner->drain_until)
        kp_connections_close_all(&runner->worker);
    if (runner->worker.draining && !runner->worker.connections)
        event_base_loopbreak(runner->worker.base);
}

static void on_wake(evutil_socket_t fd, short events, void *user)
{
    struct runner *runner = user;
    uint64_t count;
    (void)events;
    ssize_t ignored = read(fd, &count, sizeof(count));
    (void)ignored;
    pthread_mutex_lock(&runner->lock);
    kp_auto_free struct message *messages = kp_steal(&runner->messages);
    size_t n = runner->message_count;
    runner->message_count = runner->message_room = 0;
    pthread_mutex_unlock(&runner->lock);
    for (size_t i = 0; i < n; i++)
        handle_message(runner, &messages[i]);
    end_if_drained(runner);
}

static void on_tick(evutil_socket_t fd, short events, void *user)
{
    struct runner *runner = user;
    (void)fd;
    (void)events;
    kp_connections_check(&runner->worker, kp_now());
    end_if_drained(runner);
}

static void *run_worker(void *user)
{
    struct runner *runner = user;
    event_base_dispatch(runner->worker.base);
    return NULL;
}

static int start_runner(struct kp_http_server *server, unsigned index, struct kp_err *err)
{
    struct runner *runner = &server->runners[index];
    struct kp_worker *worker = &runner->worker;
    struct timeval tick = {.tv_sec = TICK_SECONDS};
    runner->server = server;
    worker->settings = &server->settings;
    worker->census = server->census;
    worker->index = index;
    worker->scratch = kp_alloc(KP_SCRATCH_SIZE);
    worker->base = event_base_new();
    runner->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!worker->base || runner->wake < 0)
        return kp_fail_sys(err, errno, "event loop");
    runner->wake_event =
        event_new(worker->base, runner->wake, EV_READ | EV_PERSIST, on_wake, runner);
    runner->tick = event_new(worker->base, -1, EV_PERSIST, on_tick, runner);
    if (!runner->wake_event || !runner->tick || event_add(runner->wake_event, NULL) < 0 ||
        event_add(runner->tick, &tick) < 0)
        return kp_fail(err, KP_FAILED, "event loop: events could not be added");
    return 0;
}

static void free_runner(struct runner *runner)
{
    kp_connections_close_all(&runner->worker);
    for (size_t i = 0; i < runner->message_count; i++)
        if (runner->messages[i].kind == MESSAGE_CONNECTION)
            close(runner->messages[i].fd);
    if (runner->wake_event)
        event_free(runner->wake_event);
    if (runner->tick)
        event_free(runner->tick);
    if (runner->worker.base)
        event_base_free(runner->worker.base);
    if (runner->wake >= 0)
        close(runner->wake);
    pthread_mutex_destroy(&runner->lock);
    kp_free(runner->messages);
    kp_free(runner->worker.scratch);
}

/* --- accepting --- */

static struct runner *least_loaded(struct kp_http_server *server)
{
    unsigned n = server->settings.workers, start = server->turn++ % n;
    struct runner *best = &server->runners[start];
    for (unsigned i = 1; i < n; i++) {
        struct runner *other = &server->runners[(start + i) % n];
        if (__atomic_load_n(&other->worker.load, __ATOMIC_RELAXED) <
            __atomic_load_n(&best->worker.load, __ATOMIC_RELAXED))
            best = other;
    }
    return best;
}

static void hand_over(struct listener *listener, int fd, const struct kp_net_address *peer)
{
    struct kp_http_server *server = listener->server;
    if (!kp_census_enter(server->census, peer)) {
        __atomic_add_fetch(&server->refused, 1, __ATOMIC_RELAXED);
        close(fd);
        return;
    }
    __atomic_add_fetch(&server->accepted, 1, __ATOMIC_RELAXED);
    struct runner *runner = least_loaded(server);
    __atomic_add_fetch(&runner->worker.load, 1, __ATOMIC_RELAXED);
    struct message message = {.kind = MESSAGE_CONNECTION, .fd = fd, .peer = *peer};
    message.tls = listener->tls ? server->tls : NULL;
    post(runner, &message);
}

static void on_pause_over(evutil_socket_t fd, short events, void *user)
{
    struct kp_http_server *server = user;
    (void)fd;
    (void)events;
    for (size_t i = 0; i < server->settings.listen_count; i++)
        if (server->listeners[i].event)
            event_add(server->listeners[i].event, NULL);
}

static void on_connection(evutil_socket_t fd, short events, void *user)
{
    struct listener *listener = user;
    (void)events;
    for (;;) {
        struct kp_net_address peer = {.len = sizeof(peer.storage)};
        struct sockaddr *to = (struct sockaddr *)&peer.storage;
        int s = accept4(fd, to, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (s >= 0) {
            hand_over(listener, s, &peer);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            // Nothing can be accepted now and the socket stays readable: look away for a moment.
            struct timeval moment = {.tv_usec = 100000};
            event_del(listener->event);
            event_add(listener->server->pause, &moment);
        }
        return;
    }
}

static int open_listener(struct kp_http_server *server, size_t i, struct kp_err *err)
{
    struct listener *listener = &server->listeners[i];
    const struct kp_http_listen *want = &server->settings.listen[i];
    struct kp_net_text text = kp_net_address_text(&want->address);
    listener->server = server;
    listener->tls = want->tls;
    listener->address = want->address;
    listener->fd =
        socket(want->address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return kp_fail_sys(err, errno, "listen on %s", text.s);
    int one = 1, zero = 0;
    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (want->address.storage.ss_family == AF_INET6)
        setsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    struct sockaddr *address = (struct sockaddr *)&listener->address.storage;
    if (bind(listener->fd, address, listener->address.len) < 0 ||
        listen(listener->fd, BACKLOG) < 0 ||
        getsockname(listener->fd, address, &listener->address.len) < 0)
        return kp_fail_sys(err, errno, "listen on %s", text.s);
    listener->event =
        event_new(server->base, listener->fd, EV_READ | EV_PERSIST, on_connection, listener);
    if (!listener->event || event_add(listener->event, NULL) < 0)
        return kp_fail(err, KP_FAILED, "listen on %s: event loop", text.s);
    return 0;
}

static void close_listener(struct listener *listener)
{
    if (listener->event)
        event_free(listener->event);
    listener->event = NULL;
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
}

/* --- life --- */

static void on_stop(evutil_socket_t fd, short events, void *user)
{
    (void)fd;
    (void)events;
    event_base_loopbreak(((struct kp_http_server *)user)->base);
}

static double or_default(double value, double fallback)
{
    return value > 0 ? value : fallback;
}

/* As many descriptors as we may have; the limit of connections follows from them. */
static void fit_descriptors(struct kp_http_server_settings *settings)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 2 * FD_RESERVE &&
        settings->connections > limit.rlim_cur - FD_RESERVE)
        settings->connections = (unsigned)(limit.rlim_cur - FD_RESERVE);
}

static void fill_settings(struct kp_http_server *server,
                          const struct kp_http_server_settings *settings)
{
    struct kp_http_server_settings *s = &server->settings;
    *s = *settings;
    s->workers = s->workers ? s->workers : kp_cores();
    s->workers = s->workers < KP_HTTP_WORKERS_MAX ? s->workers : KP_HTTP_WORKERS_MAX;
    s->connections = s->connections ? s->connections : 4096;
    s->head_seconds = or_default(s->head_seconds, 10);
    s->idle_seconds = or_default(s->idle_seconds, 60);
    s->stall_seconds = or_default(s->stall_seconds, 60);
    s->drain_seconds = or_default(s->drain_seconds, 30);
    fit_descriptors(s);
}

static int open_base(struct kp_http_server *server, struct kp_err *err)
{
    server->base = event_base_new();
    server->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!server->base || server->stop < 0)
        return kp_fail_sys(err, errno, "event loop");
    server->stop_event = event_new(server->base, server->stop, EV_READ, on_stop, server);
    server->pause = event_new(server->base, -1, 0, on_pause_over, server);
    if (!server->stop_event || !server->pause || event_add(server->stop_event, NULL) < 0)
        return kp_fail(err, KP_FAILED, "event loop: events could not be added");
    if (kp_interrupt_fd() < 0)
        return 0;
    server->interrupt_event = event_new(server->base, kp_interrupt_fd(), EV_READ, on_stop, server);
    if (!server->interrupt_event || event_add(server->interrupt_event, NULL) < 0)
        return kp_fail(err, KP_FAILED, "event loop: events could not be added");
    return 0;
}

int kp_http_server_new(struct kp_http_server **out, const struct kp_http_server_settings *settings,
                       struct kp_err *err)
{
    kp_auto(kp_http_server) server = kp_alloc(sizeof(*server));
    server->stop = -1;
    for (size_t i = 0; i < KP_HTTP_LISTENERS_MAX; i++)
        server->listeners[i].fd = -1;
    fill_settings(server, settings);
    server->census = kp_census_new(server->settings.connections, settings->per_address);
    server->runners = kp_alloc_array(server->settings.workers, sizeof(struct runner));
    for (unsigned i = 0; i < server->settings.workers; i++) {
        server->runners[i].wake = -1;
        pthread_mutex_init(&server->runners[i].lock, NULL);
    }
    if (settings->cert_file &&
        kp_tls_server_new(&server->tls, settings->cert_file, settings->key_file, err) < 0)
        return -1;
    if (open_base(server, err) < 0)
        return -1;
    for (size_t i = 0; i < settings->listen_count; i++) {
        if (settings->listen[i].tls && !server->tls)
            return kp_fail(err, KP_USAGE, "a TLS listener needs a certificate and its key");
        if (open_listener(server, i, err) < 0)
            return -1;
    }
    for (unsigned i = 0; i < server->settings.workers; i++)
        if (start_runner(server, i, err) < 0)
            return -1;
    *out = kp_steal(&server);
    return 0;
}

static void drain(struct kp_http_server *server)
{
    struct message message = {.kind = MESSAGE_DRAIN};
    for (size_t i = 0; i < server->settings.listen_count; i++)
        close_listener(&server->listeners[i]);
    for (unsigned i = 0; i < server->settings.workers; i++)
        if (server->runners[i].started)
            post(&server->runners[i], &message);
    for (unsigned i = 0; i < server->settings.workers; i++)
        if (server->runners[i].started)
            pthread_join(server->runners[i].thread, NULL);
}

int kp_http_server_run(struct kp_http_server *server, struct kp_err *err)
{
    int result = 0;
    for (unsigned i = 0; i < server->settings.workers && result == 0; i++) {
        struct runner *runner = &server->runners[i];
        int sys = pthread_create(&runner->thread, NULL, run_worker, runner);
        runner->started = sys == 0;
        if (sys)
            result = kp_fail_sys(err, sys, "worker thread");
    }
    if (result == 0)
        event_base_dispatch(server->base);
    drain(server);
    return result;
}

void kp_http_server_free(struct kp_http_server *server)
{
    if (!server)
        return;
    for (size_t i = 0; i < KP_HTTP_LISTENERS_MAX; i++)
        close_listener(&server->listeners[i]);
    for (unsigned i = 0; i < server->settings.workers; i++)
        free_runner(&server->runners[i]);
    if (server->stop_event)
        event_free(server->stop_event);
    if (server->interrupt_event)
        event_free(server->interrupt_event);
    if (server->pause)
        event_free(server->pause);
    if (server->base)
        event_base_free(server->base);
    if (server->stop >= 0)
        close(server->stop);
    SSL_CTX_free(server->tls);
    kp_census_free(server->census);
    kp_free(server->runners);
    kp_free(server);
}

const struct kp_net_address *kp_http_server_address(const struct kp_http_server *server, size_t i)
{
    return &server->listeners[i].address;
}

void kp_http_server_stop(struct kp_http_server *server)
{
    uint64_t one = 1;
    ssize_t ignored = write(server->stop, &one, sizeof(one));
    (void)ignored;
}

void kp_http_server_resume(struct kp_http_server *server, uint64_t ticket)
{
    struct message message = {.kind = MESSAGE_RESUME, .ticket = ticket};
    unsigned index = (unsigned)(ticket >> 48);
    if (index < server->settings.workers)
        post(&server->runners[index], &message);
}

struct kp_http_counters kp_http_server_counters(const struct kp_http_server *server)
{
    struct kp_http_counters counters = {
        .accepted = __atomic_load_n(&server->accepted, __ATOMIC_RELAXED),
        .refused = __atomic_load_n(&server->refused, __ATOMIC_RELAXED)};
    for (unsigned i = 0; i < server->settings.workers; i++)
        counters.open += __atomic_load_n(&server->runners[i].worker.load, __ATOMIC_RELAXED);
    return counters;
}
