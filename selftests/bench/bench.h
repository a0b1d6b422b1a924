/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of bench_nvme and bench_file share.
 *
 *	counter.c	the instruction counter, and whether it is one
 *	burst.c		one burst of I/O, timed; the median of many
 *	memory.c	buffers in host memory
 *	copy.c		from there to VRAM
 *
 *	target.c	the drive, the VRAM object, the buffers: opened once
 *	method.c	the ways to get data from the drive, as SQEs
 *	calls.c		allocations and DMA API calls in a burst
 *	report.c	rows and tables
 *
 *	file.c		bench_file: all of the same for files and volumes
 *	rdma.c		bench_rdma, which shares the counter alone
 */
#ifndef BENCH_H
#define BENCH_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define KIB		1024U
#define MIB		(1024U * KIB)

#define BENCH_MAX_DEPTH	32U
#define BENCH_BUFFER	(32U * MIB)	/* of each kind: depth 32 at 1 MiB */

/*
 * counter.c
 */

int bench_calibrate(char *why, size_t len);
uint64_t bench_spin(uint64_t instructions);
uint64_t bench_ticks(void);
uint64_t bench_counter_cost(void);

/* Virtual nanoseconds, which are instructions where bench_calibrate() said so. */
static inline uint64_t bench_counter(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/*
 * memory.c
 */

char *bench_memory(size_t bytes, int flags);
char *bench_pages(uint64_t *runs);

/*
 * copy.c
 */

void bench_copy(char *to, const char *from, uint32_t bytes);

/*
 * target.c
 */

/**
 * struct bench_target - what I/O is done on
 * @disk: block device, O_DIRECT
 * @ng: its generic character device, for passthrough
 * @node: /dev/p2pbuf-nvme
 * @exporter: render node
 * @nsid: namespace id
 * @lba_shift: log2 of the block
 * @binding: of a VRAM object of BENCH_BUFFER bytes
 * @max_io: bytes the drive takes in one command
 * @handle: of a VRAM object of BENCH_BUFFER bytes; of a paged exporter for files
 * @io_priority: of SQEs on it, as a fixed buffer
 * @vram: that object, mapped by the CPU
 * @pages: host memory in 4 KiB pages
 * @pages_runs: pieces of contiguous memory that @pages consists of
 * @huge: host memory in 2 MiB pages
 */
struct bench_target {
	int disk;
	int ng;
	int node;
	int exporter;
	uint32_t nsid;
	uint32_t lba_shift;
	uint32_t binding;
	uint32_t max_io;
	uint32_t handle;
	uint32_t io_priority;
	char *vram;
	char *pages;
	uint64_t pages_runs;
	char *huge;
};

int bench_target_open(struct bench_target *t, const char *disk);

/*
 * method.c
 */

struct bench_run;

/**
 * struct bench_method - one way to get data from the drive
 * @name: as in the tables
 * @ring_flags: of the ring, beyond what all have
 * @fd: which file the SQEs name
 * @buffer: host memory to register as fixed buffers; NULL without any
 * @enter: NULL, or what else the ring needs before its first I/O
 * @prepare: turn @sqe into the I/O number @i of a burst
 * @arrived: NULL, or what is left to do when the CQE of I/O @i came
 * @whole_command: one command each; cannot exceed what the drive takes
 * @result: what the CQE says on success, when it is not the byte count
 */
struct bench_method {
	const char *name;
	unsigned int ring_flags;
	int (*fd)(const struct bench_target *t);
	char *(*buffer)(const struct bench_target *t);
	int (*enter)(struct bench_run *run);
	void (*prepare)(const struct bench_run *run, struct io_uring_sqe *sqe,
			uint32_t i);
	void (*arrived)(const struct bench_run *run, uint32_t i);
	bool whole_command;
	bool result_is_zero;
};

/* Places on the drive are a MiB apart and not in order: nothing is merged. */
static inline uint64_t bench_place(uint32_t i)
{
	return (uint64_t)(i * 7 % BENCH_MAX_DEPTH) * MIB;
}

extern const struct bench_method bench_nop;
extern const struct bench_method bench_methods[];
extern const unsigned int bench_nr_methods;

/*
 * burst.c
 */

/**
 * struct bench_run - one row of the tables on its way
 * @target: what I/O is done on
 * @method: how
 * @size: bytes of an I/O
 * @depth: I/Os of a burst
 * @polled: an IOPOLL ring
 * @spin: instructions to spend while the drive works; 0: just wait
 * @buffer: what @method->buffer gave
 * @ring: the ring
 */
struct bench_run {
	const struct bench_target *target;
	const struct bench_method *method;
	uint32_t size;
	uint32_t depth;
	bool polled;
	uint64_t spin;
	char *buffer;
	struct io_uring ring;
};

/* Where in its buffer the I/O number @i of a burst has its bytes. */
static inline uint32_t bench_slot(const struct bench_run *run, uint32_t i)
{
	return i * run->size;
}

/**
 * struct bench_figure - instructions per I/O
 * @median: of the bursts that count
 * @p10: a tenth of them is below
 * @p90: a tenth of them is above
 * @bursts: that count
 * @dropped: that do not: the task slept or was preempted
 */
struct bench_figure {
	uint64_t median;
	uint64_t p10;
	uint64_t p90;
	uint32_t bursts;
	uint32_t dropped;
};

int bench_run_open(struct bench_run *run, const struct bench_target *target,
		   const struct bench_method *method, uint32_t size,
		   uint32_t depth, bool polled);
void bench_run_close(struct bench_run *run);
int bench_burst(struct bench_run *run);
int bench_run_settle(struct bench_run *run);
int bench_run_measure(struct bench_run *run, struct bench_figure *figure);

/*
 * calls.c
 */

/**
 * struct bench_calls - calls in the submitting task and its interrupts
 * @ios: I/Os they are of
 * @allocations: of memory
 * @dma: of the DMA API
 * @most: the functions called most, as text
 */
struct bench_calls {
	uint64_t ios;
	uint64_t allocations;
	uint64_t dma;
	char most[160];
};

int bench_calls_open(char *why, size_t len);
int bench_calls_count(struct bench_run *run, struct bench_calls *calls);

/*
 * report.c
 */

void bench_report_init(const char *topology);
void bench_report_figure(const struct bench_run *run,
			 const struct bench_figure *figure);
void bench_report_calls(const struct bench_run *run,
			const struct bench_calls *calls);
void bench_report_missing(const struct bench_run *run, const char *why);
void bench_report_print(const struct bench_target *target);
int bench_report_failures(void);
bool bench_report_counted(void);

#endif /* BENCH_H */
