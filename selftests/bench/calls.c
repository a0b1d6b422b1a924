// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations and DMA API calls in a burst.
 *
 * Counted by the stock kernel's own means: tracepoints for what has one,
 * kprobes on the function for what has none. A perf event of this task counts
 * while the task is on the CPU, its system calls and the interrupts that come
 * meanwhile, which is where an I/O happens: bursts in which the task left the
 * CPU are not counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/perf_event.h>

#include "bench.h"

#define COUNT_BURSTS	8
#define COUNT_MAX	200

enum kind {
	ALLOCATION,
	DMA,
};

/**
 * struct counter - one function or tracepoint
 * @name: of the function, or system/event of the tracepoint
 * @kind: what a hit is
 * @fd: perf event, or -1 when this kernel has no such function
 * @hits: in the last count
 */
struct counter {
	const char *name;
	enum kind kind;
	int fd;
	uint64_t hits;
};

/*
 * Allocations: the three tracepoints see every object, every large block and
 * every page, those of mempools and vmalloc too; the functions are what else
 * hands out memory.
 * DMA API: entry points that drivers and the block layer call; none calls
 * another one of the list.
 */
static struct counter counters[] = {
	{ .name = "kmem/kmalloc", .kind = ALLOCATION },
	{ .name = "kmem/kmem_cache_alloc", .kind = ALLOCATION },
	{ .name = "kmem/mm_page_alloc", .kind = ALLOCATION },
	{ .name = "kmem_cache_alloc_bulk_noprof", .kind = ALLOCATION },
	{ .name = "pcpu_alloc_noprof", .kind = ALLOCATION },
	{ .name = "dma_pool_alloc", .kind = ALLOCATION },
	{ .name = "dma_alloc_attrs", .kind = DMA },
	{ .name = "dma_map_phys", .kind = DMA },
	{ .name = "dma_unmap_phys", .kind = DMA },
	{ .name = "dma_map_sg_attrs", .kind = DMA },
	{ .name = "dma_map_sgtable", .kind = DMA },
	{ .name = "dma_unmap_sg_attrs", .kind = DMA },
	{ .name = "dma_iova_try_alloc", .kind = DMA },
	{ .name = "dma_iova_link", .kind = DMA },
	{ .name = "dma_iova_sync", .kind = DMA },
	{ .name = "dma_iova_unlink", .kind = DMA },
	{ .name = "dma_iova_destroy", .kind = DMA },
	{ .name = "dma_iova_free", .kind = DMA },
	{ .name = "__dma_sync_single_for_cpu", .kind = DMA },
	{ .name = "__dma_sync_single_for_device", .kind = DMA },
	{ .name = "__dma_sync_sg_for_cpu", .kind = DMA },
	{ .name = "__dma_sync_sg_for_device", .kind = DMA },
	{ .name = "swiotlb_tbl_map_single", .kind = DMA },
	{ .name = "dma_buf_map_attachment", .kind = DMA },
	{ .name = "dma_buf_unmap_attachment", .kind = DMA },
};

static long read_number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = '-';
	close(fd);
	return atol(text);
}

static int open_event(struct perf_event_attr *attr)
{
	attr->size = sizeof(*attr);
	attr->disabled = 1;
	return syscall(SYS_perf_event_open, attr, 0, -1, -1,
		       PERF_FLAG_FD_CLOEXEC);
}

static int open_counter(const struct counter *c)
{
	struct perf_event_attr attr = { };
	char path[128];
	long id;

	if (strchr(c->name, '/')) {
		snprintf(path, sizeof(path),
			 "/sys/kernel/tracing/events/%s/id", c->name);
		attr.type = PERF_TYPE_TRACEPOINT;
	} else {
		snprintf(path, sizeof(path),
			 "/sys/bus/event_source/devices/kprobe/type");
		attr.kprobe_func = (uintptr_t)c->name;
	}
	id = read_number(path);
	if (id <= 0)
		return -1;
	if (attr.type == PERF_TYPE_TRACEPOINT)
		attr.config = id;
	else
		attr.type = id;
	return open_event(&attr);
}

/**
 * bench_calls_open - set the counters up
 * @why: what is missing
 * @len: of @why
 *
 * Costs instructions from here on: only after everything was measured.
 *
 * Return: 0, or -EOPNOTSUPP with @why.
 */
int bench_calls_open(char *why, size_t len)
{
	unsigned int i, opened[] = { [ALLOCATION] = 0, [DMA] = 0 };

	for (i = 0; i < ARRAY_SIZE(counters); i++) {
		counters[i].fd = open_counter(&counters[i]);
		if (counters[i].fd >= 0)
			opened[counters[i].kind]++;
		else
			printf("not counted, this kernel has no %s: %s\n",
			       counters[i].name, strerror(errno));
	}
	if (opened[ALLOCATION] && opened[DMA])
		return 0;
	snprintf(why, len, "no counters: %u of allocations, %u of DMA calls",
		 opened[ALLOCATION], opened[DMA]);
	return -EOPNOTSUPP;
}

static void switch_counters(unsigned long request)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(counters); i++)
		if (counters[i].fd >= 0)
			ioctl(counters[i].fd, request, 0);
}

static int read_counters(struct counter *into)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(counters); i++) {
		into[i] = counters[i];
		into[i].hits = 0;
		if (into[i].fd >= 0 &&
		    read(into[i].fd, &into[i].hits, sizeof(into[i].hits)) !=
			    sizeof(into[i].hits))
			return -EIO;
	}
	return 0;
}

static int by_hits(const void *a, const void *b)
{
	const struct counter *x = a, *y = b;

	return x->hits > y->hits ? -1 : x->hits < y->hits;
}

/* "dma_map_phys 16.0, dma_unmap_phys 16.0": what was hit, most first. */
static void describe(struct counter *sum, struct bench_calls *calls)
{
	size_t used = 0;
	unsigned int i;

	qsort(sum, ARRAY_SIZE(counters), sizeof(*sum), by_hits);
	calls->most[0] = 0;
	for (i = 0; i < ARRAY_SIZE(counters) && sum[i].hits; i++) {
		if (used >= sizeof(calls->most))
			break;
		used += snprintf(calls->most + used,
				 sizeof(calls->most) - used, "%s%s %.2f",
				 i ? ", " : "", sum[i].name,
				 (double)sum[i].hits / calls->ios);
	}
}

/* One burst, its hits added to @sum if it counts. */
static int count_burst(struct bench_run *run, struct counter *sum)
{
	struct counter before[ARRAY_SIZE(counters)];
	struct counter after[ARRAY_SIZE(counters)];
	unsigned int i;
	int ret;

	ret = read_counters(before);
	if (ret)
		return ret;
	switch_counters(PERF_EVENT_IOC_ENABLE);
	ret = bench_burst(run);
	switch_counters(PERF_EVENT_IOC_DISABLE);
	if (ret)
		return ret;
	ret = read_counters(after);
	for (i = 0; !ret && i < ARRAY_SIZE(counters); i++)
		sum[i].hits += after[i].hits - before[i].hits;
	return ret;
}

/**
 * bench_calls_count - count over some bursts
 * @run: settled, and warm: its ring has its requests
 * @calls: filled
 *
 * Return: 0, -ETIME when too few bursts counted, or -errno.
 */
int bench_calls_count(struct bench_run *run, struct bench_calls *calls)
{
	struct counter sum[ARRAY_SIZE(counters)];
	unsigned int i, n = 0, tries;
	int ret;

	memcpy(sum, counters, sizeof(sum));
	for (i = 0; i < ARRAY_SIZE(sum); i++)
		sum[i].hits = 0;
	for (tries = 0; tries < COUNT_MAX && n < COUNT_BURSTS; tries++) {
		ret = count_burst(run, sum);
		if (ret < 0)
			return ret;
		n += !ret;
	}
	if (n < COUNT_BURSTS)
		return -ETIME;
	*calls = (struct bench_calls){ .ios = (uint64_t)n * run->depth };
	for (i = 0; i < ARRAY_SIZE(sum); i++) {
		if (sum[i].kind == ALLOCATION)
			calls->allocations += sum[i].hits;
		else
			calls->dma += sum[i].hits;
	}
	describe(sum, calls);
	return 0;
}
