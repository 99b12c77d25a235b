#include "server/watch.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

#define NEVER INT64_MAX

struct watched {
    int fd;
    int64_t deadline_ns;
    watched *previous, *next;
};

struct watch {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    watched *first;
    int64_t wake_ns; /* when the thread looks next */
    bool is_ending;
};

/* Shuts down what is late; returns the next deadline. */
static int64_t enforce(watch *w) {
    int64_t now = clock_ns(), next = NEVER;
    for (watched *c = w->first; c; c = c->next) {
        if (c->deadline_ns <= now) {
            shutdown(c->fd, SHUT_RDWR);
            c->deadline_ns = NEVER;
        }
        if (c->deadline_ns < next) next = c->deadline_ns;
    }
    return next;
}

static void *run(void *arg) {
    watch *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->is_ending) {
        w->wake_ns = enforce(w);
        if (w->wake_ns == NEVER) {
            pthread_cond_wait(&w->changed, &w->lock);
        } else {
            struct timespec until = {.tv_sec = w->wake_ns / 1000000000, .tv_nsec = w->wake_ns % 1000000000};
            pthread_cond_timedwait(&w->changed, &w->lock, &until);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

qaio_status watch_new(watch **out, qaio_error *err) {
    watch *w = mem_zalloc(sizeof *w);
    if (!w) return error_memory(err);
    w->wake_ns = NEVER;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&w->lock, NULL);
    int failed = pthread_create(&w->thread, NULL, run, w);
    if (failed) {
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
        mem_free(w);
        return error_errno(err, "", "start a thread", failed);
    }
    *out = w;
    return QAIO_OK;
}

void watch_free(watch *w) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->is_ending = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

watched *watch_add(watch *w, int fd) {
    watched *c = mem_zalloc(sizeof *c);
    if (!c) return NULL;
    c->fd = fd;
    c->deadline_ns = NEVER;
    pthread_mutex_lock(&w->lock);
    c->next = w->first;
    if (w->first) w->first->previous = c;
    w->first = c;
    pthread_mutex_unlock(&w->lock);
    return c;
}

void watch_remove(watch *w, watched *c) {
    if (!c) return;
    pthread_mutex_lock(&w->lock);
    if (c->previous)
        c->previous->next = c->next;
    else
        w->first = c->next;
    if (c->next) c->next->previous = c->previous;
    pthread_mutex_unlock(&w->lock);
    mem_free(c);
}

void watch_set(watch *w, watched *c, unsigned ms) {
    if (!c) return;
    pthread_mutex_lock(&w->lock);
    c->deadline_ns = ms ? clock_ns() + (int64_t)ms * 1000000 : NEVER;
    if (c->deadline_ns < w->wake_ns) pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

int watched_fd(const watched *c) { return c->fd; }
