#include "cli/interrupt.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t count;

static void on_signal(int number) {
    (void)number;
    if (count < 100) count++;
}

void interrupt_catch(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal; /* no SA_RESTART: a read that waits must return */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int interrupt_count(void) { return count; }

void interrupt_clear(void) { count = 0; }
