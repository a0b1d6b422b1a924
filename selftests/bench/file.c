// SPDX-License-Identifier: GPL-2.0
/*
 * bench_file [-c] NAME=PATH...
 *
 * What a read from a file or a volume into VRAM costs: straight into a fixed
 * buffer of a paged exporter, and as it is done without one, O_DIRECT into host
 * memory and a copy by the CPU. Started by `make bench` (ci/guest/bench-files),
 * which has made the filesystems and the array; the first 32 MiB of each PATH
 * have to be there and are only read.
 *
 * In instructions, in a guest that counts them (counter.c); with -c in bytes
 * per second by the clock, where time is real, if emulated.
 *
 * Exit status: 0 when all was measured, 1 otherwise, 4 when instructions cannot
 * be counted here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/utsname.h>

#include "bench.h"
#include "p2pbuf_test_exporter.h"

#define EXIT_CANNOT	4
#define PASSES		9
#define PASS_NS		200000000ULL
#define MAX_FILES	8

static const uint32_t sizes[] = { 4 * KIB, 128 * KIB, MIB };
static const uint32_t depths[] = { 32, 1 };

/* What is measured, one row of the tables. */
struct bench_file {
	char name[32];
	struct bench_target target;
};

static const char *topology;
static struct utsname host;
static int missing;

/* ---- methods ---- */

static int file_fd(const struct bench_target *t)
{
	return t->disk;
}

static char *pages_buffer(const struct bench_target *t)
{
	return t->pages;
}

/* Slot 0 of the ring becomes the VRAM object. */
static int enter_vram(struct bench_run *run)
{
	const struct drm_p2pbuf_uring_cmd cmd = {
		.handle = run->target->handle,
		.placement = P2PBUF_PLACEMENT_VRAM,
		.flags = P2PBUF_REGISTER_READ | P2PBUF_REGISTER_WRITE,
	};
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	int ret;

	ret = io_uring_register_buffers_sparse(&run->ring, 1);
	if (ret)
		return ret;
	sqe = io_uring_get_sqe(&run->ring);
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, run->target->exporter, NULL,
			 0, 0);
	sqe->cmd_op = P2PBUF_URING_REGISTER;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
	ret = io_uring_submit_and_wait(&run->ring, 1);
	if (ret >= 0)
		ret = io_uring_wait_cqe(&run->ring, &cqe);
	if (ret < 0)
		return ret;
	ret = cqe->res;
	io_uring_cqe_seen(&run->ring, cqe);
	return ret;
}

static void prepare_vram(const struct bench_run *run, struct io_uring_sqe *sqe,
			 uint32_t i)
{
	io_uring_prep_read_fixed(sqe, 0, (void *)(uintptr_t)bench_slot(run, i),
				 run->size, bench_place(i), 0);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->ioprio = run->target->io_priority;
}

static void prepare_host(const struct bench_run *run, struct io_uring_sqe *sqe,
			 uint32_t i)
{
	io_uring_prep_read_fixed(sqe, 0, run->buffer + bench_slot(run, i),
				 run->size, bench_place(i), i);
	sqe->flags = IOSQE_FIXED_FILE;
}

static void copy_to_vram(const struct bench_run *run, uint32_t i)
{
	bench_copy(run->target->vram + bench_slot(run, i),
		   run->buffer + bench_slot(run, i), run->size);
}

static const struct bench_method methods[] = {
	{
		.name = "vram",
		.fd = file_fd,
		.enter = enter_vram,
		.prepare = prepare_vram,
	}, {
		.name = "host-copy",
		.fd = file_fd,
		.buffer = pages_buffer,
		.prepare = prepare_host,
		.arrived = copy_to_vram,
	},
};

/* ---- set-up ---- */

static int failed(const char *what, int err)
{
	fprintf(stderr, "bench_file: %s: %s\n", what, strerror(-err));
	return err;
}

/* The object and the host memory, which all files share. */
static int open_memory(struct bench_target *t)
{
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create object;
	int ret;

	t->exporter = ptx_open(0);
	if (t->exporter < 0)
		return failed("no exporter", t->exporter);
	ret = ptx_device_info(t->exporter, &info);
	if (!ret && !(info.flags & P2PBUF_DEVICE_PAGED))
		ret = -EMEDIUMTYPE;
	if (ret)
		return failed("the exporter is not paged", ret);
	t->io_priority = info.io_priority;
	ret = ptx_create(t->exporter, BENCH_BUFFER, P2PBUF_PLACEMENT_VRAM, 0,
			 &object);
	if (ret)
		return failed("cannot allocate VRAM", ret);
	t->handle = object.handle;
	t->vram = ptx_mmap(t->exporter, BENCH_BUFFER, object.mmap_offset);
	t->pages = bench_pages(&t->pages_runs);
	if (!t->vram || !t->pages)
		return failed("cannot map memory", -errno);
	/* As after a first use: no page is faulted in while it is measured. */
	memset(t->vram, 0, BENCH_BUFFER);
	return 0;
}

static int open_file(struct bench_file *file, const char *argument,
		     const struct bench_target *memory)
{
	const char *path = strchr(argument, '=');

	if (!path || path - argument >= (int)sizeof(file->name))
		return failed(argument, -EINVAL);
	memcpy(file->name, argument, path - argument);
	file->target = *memory;
	file->target.disk = open(path + 1, O_RDONLY | O_DIRECT | O_CLOEXEC);
	return file->target.disk < 0 ? failed(path + 1, -errno) : 0;
}

/* ---- what is measured ---- */

static void not_measured(const struct bench_file *file,
			 const struct bench_method *method, uint32_t size,
			 uint32_t depth, int err)
{
	missing++;
	printf("not measured: %s-%s, %u bytes, %u in flight: %s\n", file->name,
	       method->name, size, depth, strerror(-err));
}

static void print_size(uint32_t size)
{
	printf("%5u %s", size < MIB ? size / KIB : size / MIB,
	       size < MIB ? "KiB" : "MiB");
}

static void row_head(const struct bench_file *file,
		     const struct bench_method *method, uint32_t size,
		     uint32_t depth)
{
	printf("files.tsv\t%s-%s\t%u\t%u\t%s\t", file->name, method->name,
	       size, depth, topology);
}

/* Instructions per I/O, or 0. */
static uint64_t count(const struct bench_file *file,
		      const struct bench_method *method, uint32_t size,
		      uint32_t depth)
{
	struct bench_figure figure;
	struct bench_run run;
	int ret;

	ret = bench_run_open(&run, &file->target, method, size, depth, false);
	if (!ret) {
		ret = bench_run_settle(&run);
		if (!ret)
			ret = bench_run_measure(&run, &figure);
		bench_run_close(&run);
	}
	if (ret) {
		not_measured(file, method, size, depth, ret);
		return 0;
	}
	row_head(file, method, size, depth);
	printf("%llu\t%llu-%llu\t%s\t-\n", (unsigned long long)figure.median,
	       (unsigned long long)figure.p10, (unsigned long long)figure.p90,
	       host.release);
	return figure.median;
}

static void count_file(const struct bench_file *file)
{
	uint64_t vram, copy;
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(depths); i++) {
		for (k = 0; k < ARRAY_SIZE(sizes); k++) {
			vram = count(file, &methods[0], sizes[k], depths[i]);
			copy = count(file, &methods[1], sizes[k], depths[i]);
			printf("  %-8s", file->name);
			print_size(sizes[k]);
			printf(", %2u in flight: %8llu into VRAM, %8llu by host memory\n",
			       depths[i], (unsigned long long)vram,
			       (unsigned long long)copy);
			fflush(stdout);
		}
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* Bytes per second for PASS_NS, or -errno. */
static int64_t pass(struct bench_run *run)
{
	uint64_t start = now_ns(), spent, bytes = 0;
	int ret;

	do {
		ret = bench_burst(run);
		if (ret < 0)
			return ret;
		bytes += (uint64_t)run->size * run->depth;
		spent = now_ns() - start;
	} while (spent < PASS_NS);
	return bytes * 1000000000 / spent;
}

static int by_value(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* In turn, so that a busy host is busy for both. */
static int pass_in_turn(struct bench_run *runs, int64_t (*rates)[PASSES])
{
	unsigned int i, m;

	for (i = 0; i < PASSES; i++) {
		for (m = 0; m < ARRAY_SIZE(methods); m++) {
			rates[m][i] = pass(&runs[m]);
			if (rates[m][i] < 0)
				return rates[m][i];
		}
	}
	return 0;
}

static void clock_size(const struct bench_file *file, uint32_t size)
{
	struct bench_run runs[ARRAY_SIZE(methods)];
	int64_t rates[ARRAY_SIZE(methods)][PASSES];
	unsigned int m, opened;
	int ret = 0;

	for (opened = 0; !ret && opened < ARRAY_SIZE(methods); opened++) {
		ret = bench_run_open(&runs[opened], &file->target,
				     &methods[opened], size, depths[0], false);
		if (ret)
			break;
		runs[opened].spin = 0;
	}
	if (!ret)
		ret = pass_in_turn(runs, rates);
	for (m = 0; m < opened; m++)
		bench_run_close(&runs[m]);
	if (ret) {
		not_measured(file, &methods[0], size, depths[0], ret);
		return;
	}
	printf("  %-8s", file->name);
	print_size(size);
	for (m = 0; m < ARRAY_SIZE(methods); m++) {
		qsort(rates[m], PASSES, sizeof(rates[m][0]), by_value);
		printf("%s %6.1f MiB/s %s", m ? "," : ":",
		       (double)rates[m][PASSES / 2] / MIB,
		       m ? "by host memory" : "into VRAM");
	}
	printf("\n");
	for (m = 0; m < ARRAY_SIZE(methods); m++) {
		row_head(file, &methods[m], size, depths[0]);
		printf("-\t-\t%s\t%lld\n", host.release,
		       (long long)rates[m][PASSES / 2]);
	}
	fflush(stdout);
}

static void clock_file(const struct bench_file *file)
{
	unsigned int k;

	for (k = 0; k < ARRAY_SIZE(sizes); k++)
		clock_size(file, sizes[k]);
}

int main(int argc, char **argv)
{
	static struct bench_file files[MAX_FILES];
	struct bench_target memory = { .disk = -1 };
	bool by_clock = argc > 1 && !strcmp(argv[1], "-c");
	int first = by_clock ? 2 : 1, i, n = argc - first;
	char why[256];

	topology = getenv("P2PBUF_TOPOLOGY") ? : "unknown";
	if (strrchr(topology, '/'))
		topology = strrchr(topology, '/') + 1;
	uname(&host);
	if (n < 1 || n > MAX_FILES) {
		fprintf(stderr, "bench_file: 1 to %d files\n", MAX_FILES);
		return EXIT_FAILURE;
	}
	if (!by_clock && bench_calibrate(why, sizeof(why))) {
		fprintf(stderr, "bench_file: %s\n", why);
		return EXIT_CANNOT;
	}
	if (open_memory(&memory))
		return EXIT_FAILURE;
	for (i = 0; i < n; i++)
		if (open_file(&files[i], argv[first + i], &memory))
			return EXIT_FAILURE;
	printf("\nReads from files into VRAM and by host memory, %s, topology %s, kernel %s\n",
	       by_clock ? "by the clock" : "guest instructions per I/O",
	       topology, host.release);
	for (i = 0; i < n; i++) {
		if (by_clock)
			clock_file(&files[i]);
		else
			count_file(&files[i]);
	}
	return missing ? EXIT_FAILURE : EXIT_SUCCESS;
}
