/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Failure sweep: the nth thing that can fail fails.
 *
 *	for (nth = 1, more = true; more; nth++) {
 *		prepare
 *		pts_arm(nth);
 *		ret = the call under test;
 *		more = pts_disarm();
 *		ret is an error that was to be expected, or 0;
 *		nothing was left behind, and the next try works
 *	}
 *
 * Works where the kernel has /proc/thread-self/fail-nth, CONFIG_FAILSLAB and
 * CONFIG_FAULT_INJECTION_STACKTRACE_FILTER; what can fail are allocations of
 * slab and pages and accesses to user memory, below the modules of this project
 * or one of them: others' ways through a failure are not tested here, and not
 * all of them are sound. Only the calling thread is concerned, or those that
 * pts_aim() and pts_aim_workers() name, and only until pts_disarm().
 */
#ifndef P2PBUF_TEST_SWEEP_H
#define P2PBUF_TEST_SWEEP_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_until.h"
#include "p2pbuf_test_write.h"

#define PTS_NTH		"/proc/thread-self/fail-nth"
#define PTS_DEBUGFS	"/sys/kernel/debug/"
#define PTS_ATTACHMENTS	PTS_DEBUGFS "p2pbuf/attachments"

static const char * const pts_attrs[] = {
	"failslab", "fail_page_alloc", "fail_usercopy",
};

#define PTS_ATTRS	(sizeof(pts_attrs) / sizeof(pts_attrs[0]))

static inline int pts_attr(const char *attr, const char *file,
			   const char *value)
{
	char path[80];

	snprintf(path, sizeof(path), PTS_DEBUGFS "%s/%s", attr, file);
	return ptk_write(path, value);
}

/*
 * Also where the allocation may wait. Quietly, unless P2PBUF_SWEEP_VERBOSE says
 * otherwise: with 2 the kernel's log has the stack of each failure.
 */
static inline int pts_prepare(void)
{
	const char *verbose = getenv("P2PBUF_SWEEP_VERBOSE");
	unsigned int i;

	for (i = 0; i < PTS_ATTRS; i++)
		pts_attr(pts_attrs[i], "verbose", verbose ? verbose : "0");
	pts_attr("fail_page_alloc", "ignore-gfp-wait", "N");
	/* Pages of buffers are highmem to those who ask for them. */
	pts_attr("fail_page_alloc", "ignore-gfp-highmem", "N");
	pts_attr("fail_page_alloc", "min-order", "0");
	return pts_attr("failslab", "ignore-gfp-wait", "N");
}

/* What is called from code between @start and @end; @what: require or reject. */
static inline int pts_range(const char *what, unsigned long start,
			    unsigned long end)
{
	char file[32], value[32];
	unsigned int i;
	int ret = 0;

	for (i = 0; i < PTS_ATTRS && !ret; i++) {
		snprintf(file, sizeof(file), "%s-start", what);
		snprintf(value, sizeof(value), "%#lx", start);
		ret = pts_attr(pts_attrs[i], file, value);
		snprintf(file, sizeof(file), "%s-end", what);
		snprintf(value, sizeof(value), "%#lx", end);
		if (!ret)
			ret = pts_attr(pts_attrs[i], file, value);
	}
	return ret;
}

/*
 * From here on only what is called by modules whose names begin with @prefix
 * can fail. A module's code has pages of its own, so it ends with that of its
 * last function.
 */
static inline int pts_only(const char *prefix)
{
	unsigned long addr, first = ~0UL, last = 0;
	char line[512], module[64], type;
	FILE *f = fopen("/proc/kallsyms", "re");

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %c %*s [%63[^]]", &addr, &type,
			   module) != 3 || (type != 't' && type != 'T') ||
		    strncmp(module, prefix, strlen(prefix)))
			continue;
		first = addr < first ? addr : first;
		last = addr > last ? addr : last;
	}
	fclose(f);
	if (!last)
		return -ENOENT;
	return pts_range("require", first & ~0xfffUL, last | 0xfffUL);
}

/* Is @found the symbol of function @name, whatever the compiler made of it? */
static inline bool pts_is_named(const char *found, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(found, name, n) &&
	       (!found[n] || (found[n] == '.' && !strstr(found, ".cold")));
}

/*
 * Where function @name is. It ends where the next higher symbol begins;
 * modules' symbols are in no order.
 */
static inline int pts_function(const char *name, unsigned long *start,
			       unsigned long *end)
{
	unsigned long addr;
	char line[512], found[128];
	FILE *f;

	*start = 0;
	*end = ~0UL;
	f = fopen("/proc/kallsyms", "re");
	if (!f)
		return -errno;
	while (!*start && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx %*c %127s", &addr, found) == 2 &&
		    pts_is_named(found, name))
			*start = addr;
	if (fseek(f, 0, SEEK_SET)) {
		fclose(f);
		return -EIO;
	}
	while (*start && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx", &addr) == 1 && addr > *start &&
		    addr <= *end)
			*end = addr - 1;
	fclose(f);
	return *start ? 0 : -ENOENT;
}

/* From here on only what is called by function @name can fail. */
static inline int pts_below(const char *name)
{
	unsigned long start, end;
	int ret = pts_function(name, &start, &end);

	return ret ? ret : pts_range("require", start, end);
}

/* From here on nothing that is called by function @name fails; one at a time. */
static inline int pts_spare(const char *name)
{
	unsigned long start, end;
	int ret = pts_function(name, &start, &end);

	return ret ? ret : pts_range("reject", start, end);
}

/* NULL, or why this kernel cannot do it. */
static inline const char *pts_impossible(void)
{
	if (access(PTS_NTH, W_OK))
		return "this kernel injects no faults";
	if (pts_prepare())
		return "this kernel does not let allocations fail";
	if (pts_only("p2pbuf_"))
		return "this kernel cannot tell whose allocations fail";
	/* The checker of DMA mappings gives up for good when it gets no memory. */
	pts_spare("add_dma_entry");
	return NULL;
}

/* ---- whose calls --------------------------------------------------------------- */

/* More kernel threads than a guest has. */
#define PTS_AIMED_MAX	256

/* Written without stdio: it allocates, and closing may, too. */
static __thread int pts_fds[PTS_AIMED_MAX];
static __thread unsigned int pts_aimed;

static inline void pts_aim_at_nobody(void)
{
	while (pts_aimed)
		close(pts_fds[--pts_aimed]);
}

static inline int pts_aim_also(const char *path)
{
	int fd;

	if (pts_aimed == PTS_AIMED_MAX)
		return -E2BIG;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	pts_fds[pts_aimed++] = fd;
	return 0;
}

/* Whose calls are to fail: thread @tid of this process, 0 for the caller. */
static inline int pts_aim(int tid)
{
	char path[48];

	pts_aim_at_nobody();
	if (!tid)
		return pts_aim_also(PTS_NTH);
	snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", tid);
	return pts_aim_also(path);
}

/* Does the file at @path begin with @word? */
static inline bool pts_begins(const char *path, const char *word)
{
	char text[32] = "";
	FILE *f = fopen(path, "re");

	if (!f)
		return false;
	if (!fgets(text, sizeof(text), f))
		*text = 0;
	fclose(f);
	return !strncmp(text, word, strlen(word));
}

/* The thread in which io_uring works for this process, or -ENOENT. */
static inline int pts_io_worker(void)
{
	struct dirent *task;
	int tid = -ENOENT;
	char path[300];
	DIR *d = opendir("/proc/self/task");

	while (d && tid < 0 && (task = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm",
			 task->d_name);
		if (pts_begins(path, "iou-wrk-"))
			tid = atoi(task->d_name);
	}
	if (d)
		closedir(d);
	return tid;
}

/*
 * All workers of the kernel's workqueues: which of them a work item will get is
 * not to be known. Each counts for itself, so with pts_below() let one item
 * alone count; and it may get a worker that was born after this call, so let
 * the point be played again when nothing failed (@again of struct pts_point).
 */
static inline int pts_aim_workers(void)
{
	struct dirent *task;
	char path[300];
	DIR *d = opendir("/proc");
	int ret = 0;

	pts_aim_at_nobody();
	if (!d)
		return -errno;
	while (ret >= 0 && (task = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", task->d_name);
		if (!pts_begins(path, "kworker/"))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fail-nth", task->d_name);
		ret = pts_aim_also(path);
		/* It has ended meanwhile. */
		if (ret == -ENOENT || ret == -ESRCH)
			ret = 0;
	}
	closedir(d);
	return ret ? ret : pts_aimed ? 0 : -ENOENT;
}

static inline void pts_set(unsigned int nth)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", nth);
	unsigned int i;

	if (!pts_aimed && pts_aim(0))
		abort();
	for (i = 0; i < pts_aimed; i++)
		if (pwrite(pts_fds[i], text, n, 0) != n && errno != ESRCH)
			abort();
}

/* From here on count; the @nth one fails. */
static inline void pts_arm(unsigned int nth)
{
	pts_set(nth);
}

/* Has one happened to the @i-th of those that were aimed at? */
static inline bool pts_failed(unsigned int i)
{
	char text[16] = "";
	ssize_t n;

	/* Reading may be what fails, the count being as low as that. */
	do {
		n = pread(pts_fds[i], text, sizeof(text) - 1, 0);
	} while (n < 0 && errno == EFAULT);
	if (n <= 0 && errno != ESRCH)
		abort();
	return n > 0 && !atoi(text);
}

/* No more failures. Did one happen? */
static inline bool pts_disarm(void)
{
	bool failed = false;
	unsigned int i;

	for (i = 0; i < pts_aimed; i++)
		failed |= pts_failed(i);
	pts_set(0);
	return failed;
}

/* What running out of memory, or a bad pointer, may be reported as. */
static inline bool pts_expected(int ret)
{
	return !ret || ret == -ENOMEM || ret == -EFAULT;
}

/* ---- what may be left behind ---------------------------------------------------- */

/* Of all attachments; false when somebody holds the resv of one. */
static inline bool pts_read_inline_waits(unsigned int *n)
{
	FILE *f = fopen(PTS_ATTACHMENTS, "re");
	char line[512], *at;
	bool all = f;
	unsigned int one;

	*n = 0;
	while (f && fgets(line, sizeof(line), f)) {
		at = strstr(line, "inline_waits=");
		if (at && sscanf(at, "inline_waits=%u", &one) == 1)
			*n += one;
		else
			all = false;
	}
	if (f)
		fclose(f);
	return all;
}

/* Invalidations that had no slot for their fence, and waited. */
static inline unsigned int pts_inline_waits(void)
{
	unsigned int n;

	/* What is being unmapped keeps its counters to itself. */
	if (!ptk_until(pts_read_inline_waits(&n), 10000))
		fprintf(stderr, "# an attachment stays busy\n");
	return n;
}

/**
 * struct pts_usage - what importers have of the objects of an exporter's region
 * @pins: pins
 * @far: attachments that cannot reach the BAR
 * @vram: mappings of the BAR
 */
struct pts_usage {
	unsigned int pins;
	unsigned int far;
	unsigned int vram;
};

/* @region: the PCI function's name */
static inline struct pts_usage pts_usage(const char *region)
{
	struct pts_usage one, all = {};
	char path[96], line[256];
	FILE *f;

	snprintf(path, sizeof(path), PTS_DEBUGFS "dri/%s/objects", region);
	f = fopen(path, "re");
	if (!f)
		return (struct pts_usage){ ~0U, ~0U, ~0U };
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*u %*s %*s %u %*u %u %u", &one.pins,
			   &one.far, &one.vram) != 3)
			continue;
		all.pins += one.pins;
		all.far += one.far;
		all.vram += one.vram;
	}
	fclose(f);
	return all;
}

/* ---- points ------------------------------------------------------------------ */

/* More points than any call has: the sweep has gone astray. */
#define PTS_POINTS_MAX	3000

/**
 * struct pts_point - where a sweep is
 * @what: of which call
 * @sure: nothing in the call can fail
 * @again: how often a point is played again when nothing failed
 * @nth: what fails next, from 1
 * @errors: how often the call said so
 * @missed: how often nothing failed at this point
 * @more: something did fail, so there may be more
 */
struct pts_point {
	const char *what;
	bool sure;
	unsigned int again;
	unsigned int nth;
	unsigned int errors;
	unsigned int missed;
	bool more;
};

/* False: that was all. */
static inline bool pts_next(struct __test_metadata *_metadata,
			    struct pts_point *p)
{
	if (p->more || !p->nth) {
		p->nth++;
		p->missed = 0;
	} else if (p->missed++ == p->again) {
		printf("# %s: %u points, %u of them an error\n", p->what,
		       p->nth - 1, p->errors);
		EXPECT_EQ(p->sure, p->nth == 1);
		return false;
	}
	ASSERT_GT(PTS_POINTS_MAX, p->nth);
	return true;
}

/* After the call that was armed; is @ret one of those that a failure gives? */
static inline void pts_judge(struct __test_metadata *_metadata,
			     struct pts_point *p, int ret, bool expected)
{
	p->more = pts_disarm();
	p->errors += !!ret;
	EXPECT_TRUE(p->more ? expected : !ret)
		TH_LOG("%s, point %u: %d", p->what, p->nth, ret);
}

#endif /* P2PBUF_TEST_SWEEP_H */
