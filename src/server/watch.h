/* Deadlines of connections.  A connection that is too slow to deliver a request or to take an answer is shut down, whatever it trickles:
 * libmicrohttpd's own timeout starts anew with every byte. */
#ifndef QAIO_SERVER_WATCH_H
#define QAIO_SERVER_WATCH_H

#include "base/error.h"

typedef struct watch watch;
typedef struct watched watched;

qaio_status watch_new(watch **out, qaio_error *err);
void watch_free(watch *w); /* no connection is left */

/* NULL when out of memory. */
watched *watch_add(watch *w, int fd);
void watch_remove(watch *w, watched *c); /* before fd is closed */

/* From now; 0: none. */
void watch_set(watch *w, watched *c, unsigned ms);

int watched_fd(const watched *c);

#endif
