/* The server in front of the fake resident, for end-to-end tests without a model:
 *     fake_server [--token-ms N] [--receive-ms N] [--key KEY] [--allow-origin ORIGIN] [--max-connections N]
 * prints its address, serves until SIGTERM or SIGINT, then stops within 500 ms. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_resident.h"
#include "server/server.h"

int main(int argc, char **argv) {
    int token_ms = 10;
    const char *origin;
    server_options options = {.port = 0, .send_ms = 3000};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--token-ms") == 0) token_ms = atoi(argv[i + 1]);
        if (strcmp(argv[i], "--receive-ms") == 0) options.receive_ms = (unsigned)atoi(argv[i + 1]);
        if (strcmp(argv[i], "--max-connections") == 0) options.max_connections = (unsigned)atoi(argv[i + 1]);
        if (strcmp(argv[i], "--key") == 0) options.api_key = argv[i + 1];
        if (strcmp(argv[i], "--allow-origin") == 0) {
            origin = argv[i + 1];
            options.allowed_origins = &origin;
            options.n_allowed_origins = 1;
        }
    }
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    resident *r = fake_resident_new(token_ms);
    server *s;
    qaio_error err;
    if (server_start(&s, r, &options, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s\n", server_url(s));
    fflush(stdout);
    int received;
    sigwait(&ends, &received);
    server_stop(s, 500);
    fake_resident_free(r);
    return 0;
}
