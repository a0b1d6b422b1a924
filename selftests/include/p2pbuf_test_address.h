/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a reply tells of addresses: nothing, or the test that looks fails.
 *
 * Two ways of looking. The BAR and the kernel's own addresses are ranges of
 * numbers that nothing else lies in. Physical memory and IOVAs are not: a size
 * may be any of them. But two things that exist at once lie at different
 * places, and when nothing else is different about them their replies are
 * equal, unless a reply depends on the place.
 */
#ifndef P2PBUF_TEST_ADDRESS_H
#define P2PBUF_TEST_ADDRESS_H

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <drm/p2pbuf_drm.h>
#include <linux/p2pbuf_path.h>

/* Where the BAR lies: what nobody may learn. */
static inline int pta_bar_range(const struct drm_p2pbuf_device_info *info,
				__u64 *start, __u64 *end)
{
	char path[128], line[128];
	unsigned int i;
	int ret = -1;
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%04x:%02x:%02x.%x/resource",
		 info->pci >> 16, info->pci >> 8 & 0xff, info->pci >> 3 & 0x1f,
		 info->pci & 7);
	*start = 0;
	*end = 0;
	f = fopen(path, "r");
	if (!f)
		return -1;
	for (i = 0; fgets(line, sizeof(line), f); i++) {
		unsigned long long a, b;

		if (i == info->bar && sscanf(line, "%llx %llx", &a, &b) == 2) {
			*start = a;
			*end = b;
			ret = a ? 0 : -1;
		}
	}
	fclose(f);
	return ret;
}

/* Something in a reply that is an address of the kernel's or of the BAR's. */
static inline bool pta_is_address(__u64 v, __u64 start, __u64 end)
{
	return (v >= 0xff00000000000000ULL && v < -4095ULL) ||
	       (v >= start && v <= end);
}

static inline unsigned int pta_addresses(const void *reply, size_t size,
					 __u64 start, __u64 end)
{
	unsigned int found = 0;
	size_t i;
	__u64 v;

	for (i = 0; i + sizeof(v) <= size; i += 4) {
		memcpy(&v, (const char *)reply + i, sizeof(v));
		found += pta_is_address(v, start, end);
	}
	return found;
}

/* "No device" is all ones, and looks like half an address. */
static inline void pta_hide_no_device(struct p2pbuf_path_info *path)
{
	if (path->exporter == P2PBUF_PATH_NO_DEVICE)
		path->exporter = 0;
	if (path->blocker == P2PBUF_PATH_NO_DEVICE)
		path->blocker = 0;
}

/* In text: each run of hexadecimal digits. -1 when it cannot be read. */
static inline int pta_addresses_in_text(const char *path, __u64 start,
					__u64 end)
{
	char line[1024], *p, *next;
	FILE *f = fopen(path, "r");
	int found = 0;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		for (p = line; *p; p = next) {
			if (!isxdigit(*p)) {
				next = p + 1;
				continue;
			}
			found += pta_is_address(strtoull(p, &next, 16), start,
						end);
		}
	}
	fclose(f);
	return found;
}

/* ---- two of a kind ----------------------------------------------------------- */

/* Offset of the first byte that depends on which of the two it is, or @size. */
static inline size_t pta_differs(const void *a, const void *b, size_t size)
{
	const unsigned char *x = a, *y = b;
	size_t i;

	for (i = 0; i < size && x[i] == y[i]; i++)
		;
	return i;
}

/* What numbers inodes and clients one after the other is no place. */
static inline bool pta_is_number(const char *line)
{
	return !strncmp(line, "ino:", 4) ||
	       !strncmp(line, "drm-client-id:", 14);
}

/* How many lines of the two differ? */
static inline int pta_compare_lines(FILE *f, FILE *g)
{
	char x[1024] = "", y[1024] = "";
	bool more_x, more_y;
	int differ = 0;

	do {
		more_x = fgets(x, sizeof(x), f);
		more_y = fgets(y, sizeof(y), g);
		if (more_x != more_y)
			differ++;
		else if (more_x && strcmp(x, y) &&
			 !(pta_is_number(x) && pta_is_number(y)))
			differ++;
	} while (more_x && more_y);
	return differ;
}

/* The same for two texts; -1 when one cannot be read. */
static inline int pta_lines_differ(const char *a, const char *b)
{
	FILE *f = fopen(a, "r"), *g = fopen(b, "r");
	int differ = -1;

	if (f && g)
		differ = pta_compare_lines(f, g);
	if (f)
		fclose(f);
	if (g)
		fclose(g);
	return differ;
}

/* Where the page of user memory at @p lies, for root alone; 0: nobody tells. */
static inline __u64 pta_physical(const void *p)
{
	const __u64 present = 1ULL << 63, frame = (1ULL << 55) - 1;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (uintptr_t)p / 4096 * 8) !=
	    sizeof(entry))
		entry = 0;
	close(fd);
	return entry & present ? (entry & frame) * 4096 : 0;
}

#endif /* P2PBUF_TEST_ADDRESS_H */
