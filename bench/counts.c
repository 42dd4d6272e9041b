/* Tells callgrind when to count; nothing happens outside of valgrind. */
#include <valgrind/callgrind.h>

void counts_begin(void) { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
void counts_dump(const char *name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
int counts_running(void) { return (int)RUNNING_ON_VALGRIND; }
