/* Waiting for the model, with an eye on the client. */
#include <poll.h>

#include "server/internal.h"

bool exchange_is_over(const exchange *x) {
    if (atomic_load(&x->server->is_cut)) return true;
    struct pollfd p = {.fd = watched_fd(x->watched), .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

bool exchange_await_label(const exchange *x, label_read *read) {
    while (!label_wait(read, WAIT_MS))
        if (exchange_is_over(x)) return false;
    return true;
}

bool exchange_await_decision(const exchange *x, decision *d) {
    while (!decision_wait(d, WAIT_MS))
        if (exchange_is_over(x)) return false;
    return true;
}

bool exchange_gather(exchange *x, reply *p, str *text, bool (*also)(void *state, const reply_piece *piece), void *state) {
    for (;;) {
        reply_piece piece;
        reply_step step = reply_next(p, &piece, WAIT_MS);
        if (step == REPLY_END) return !text->failed;
        if (exchange_is_over(x)) return false;
        if (step != REPLY_PIECE) continue;
        str_append(text, piece.text, piece.n);
        if (also && !also(state, &piece)) return false;
    }
}
