// SPDX-License-Identifier: GPL-2.0
/* Buffers in host memory. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define PAGE	4096U

/* Any odd number: the buffer has a power of two of pages. */
#define SCATTER	2731

/* Where the kernel has put a page; needs CAP_SYS_ADMIN. */
static uint64_t page_frame(int pagemap, const char *p)
{
	uint64_t entry = 0;

	if (pread(pagemap, &entry, sizeof(entry),
		  (uintptr_t)p / PAGE * sizeof(entry)) != sizeof(entry))
		return 0;
	return entry & ((1ULL << 55) - 1);
}

static uint64_t count_runs(const char *p, size_t bytes)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t runs = 0, last = 0, frame;
	size_t i;

	if (pagemap < 0)
		return 0;
	for (i = 0; i < bytes; i += PAGE, last = frame) {
		frame = page_frame(pagemap, p + i);
		runs += frame != last + 1;
	}
	close(pagemap);
	return runs;
}

/**
 * bench_memory - host memory
 * @bytes: how much
 * @flags: MAP_* beside what anonymous memory has
 *
 * Return: NULL with errno when there is none.
 */
char *bench_memory(size_t bytes, int flags)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/*
 * Touch the pages in an order that makes no neighbours, as memory is on a
 * machine that has been up for long. What contiguous memory is worth show the
 * huge pages.
 */
static void scatter(char *p, size_t bytes)
{
	size_t i, pages = bytes / PAGE;

	for (i = 0; i < pages; i++)
		memset(p + i * SCATTER % pages * PAGE, 1, PAGE);
}

/**
 * bench_pages - BENCH_BUFFER bytes of host memory in scattered 4 KiB pages
 * @runs: pieces of contiguous memory that it consists of; 0 when not known
 *
 * Return: NULL with errno when there is none.
 */
char *bench_pages(uint64_t *runs)
{
	char *p = bench_memory(BENCH_BUFFER, 0);

	if (!p || madvise(p, BENCH_BUFFER, MADV_NOHUGEPAGE))
		return NULL;
	scatter(p, BENCH_BUFFER);
	*runs = count_runs(p, BENCH_BUFFER);
	return p;
}
