#include "cli/interrupt.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t count, is_terminated;

static void on_signal(int number) {
    if (number == SIGTERM)
        is_terminated = 1;
    else if (count < 100)
        count++;
}

void interrupt_catch(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal; /* no SA_RESTART: a read that waits must return */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int interrupt_count(void) { return count + is_terminated; }

void interrupt_clear(void) { count = 0; }
