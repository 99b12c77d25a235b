/* Whether the files of a folder of tasks have changed, found by looking: names, sizes and times of its *.yaml, a few stat calls a second.
 * Unlike notifications of the kernel this also works on network file systems and where files are links that move. */
#ifndef QAIO_TASKS_TASK_WATCH_H
#define QAIO_TASKS_TASK_WATCH_H

#include <stdbool.h>
#include <stdint.h>

typedef struct task_watch {
    const char *dir; /* borrowed; NULL: nothing ever changes */
    uint64_t known;  /* what was there when tasks were last read */
    uint64_t last;   /* what was there at the last look */
} task_watch;

/* Before the tasks are read, so that no change is missed. */
void task_watch_init(task_watch *w, const char *dir);
/* Whether it is time to read them anew: they have changed, and not since the last look, so that nobody is just writing them.  Says so once
 * for each change. */
bool task_watch_look(task_watch *w);

#endif
