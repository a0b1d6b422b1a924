/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel did, in its order, by its tracepoints and by kprobes: for what
 * has no other trace, on a machine whose buses keep nothing back.
 */
#ifndef P2PBUF_TEST_TRACE_H
#define P2PBUF_TEST_TRACE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "p2pbuf_test_write.h"

#define PTT_TRACING	"/sys/kernel/tracing/"

/*
 * "SYSTEM/EVENT". 0 or -errno; -ENOENT when this kernel has no such event.
 *
 * Tasks' names are not recorded, for which the scheduler would be patched: that
 * is code which emulated processors stumble over.
 */
static inline int ptt_event(const char *event, bool on)
{
	char path[128];

	ptk_write(PTT_TRACING "options/record-cmd", "0");
	snprintf(path, sizeof(path), PTT_TRACING "events/%s/enable", event);
	return ptk_write(path, on ? "1" : "0");
}

/* Makes the event ptt/@function, which is each call of it; 0 or -errno. */
static inline int ptt_probe(const char *function)
{
	char text[128];

	snprintf(text, sizeof(text), "p:ptt/%s %s\n", function, function);
	return ptk_write(PTT_TRACING "kprobe_events", text);
}

static inline int ptt_unprobe(const char *function)
{
	char text[128];

	snprintf(text, sizeof(text), "-:ptt/%s\n", function);
	return ptk_write(PTT_TRACING "kprobe_events", text);
}

static inline void ptt_clear(void)
{
	close(open(PTT_TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
}

/* What was traced since, one event on a line. */
static inline FILE *ptt_open(void)
{
	return fopen(PTT_TRACING "trace", "re");
}

#endif /* P2PBUF_TEST_TRACE_H */
