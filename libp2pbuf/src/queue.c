// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The belt to the braces of file.c: a disk that merges nothing cannot merge
 * VRAM with anything else, whatever other programs do. It is a setting of the
 * disk and of all who use it, which outlives us; so it is made only for who
 * asks, and undone only where it cannot be made on all disks.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define NEVER	'2'	/* of queue/nomerges; 1 is: only the cheap ones */

static int queue_open(const char *disk, int flags)
{
	char path[P2PBUF_DISK_NAME + 32];
	int fd;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/nomerges", disk);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int queue_set(const char *disk, char value)
{
	int fd = queue_open(disk, O_WRONLY), ret = 0;

	if (fd < 0)
		return fd;
	if (write(fd, &value, 1) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* '0' to '2', or 0 if it cannot be read. */
static char queue_get(const char *disk)
{
	int fd = queue_open(disk, O_RDONLY);
	char now = 0;

	if (fd < 0)
		return 0;
	if (read(fd, &now, 1) < 0)
		now = 0;
	close(fd);
	return now;
}

int p2pbuf_disks_stop_merges(const struct p2pbuf_disks *disks,
			     struct p2pbuf_error *error)
{
	char before[P2PBUF_DISKS];
	unsigned int i;
	int ret;

	if (disks->is_multipath)
		return p2pbuf_fail(error, EMLINK,
				   "what the paths of a multipath head merge is not to be set from here");
	for (i = 0; i < disks->queues; i++) {
		before[i] = queue_get(disks->queue[i]);
		/* Who may not write need not, where it is so already. */
		if (before[i] == NEVER)
			continue;
		ret = queue_set(disks->queue[i], NEVER);
		if (ret < 0)
			goto undo;
	}

	return 0;

undo:
	ret = p2pbuf_fail(error, EPERM,
			  "cannot keep %s from merging requests (queue/nomerges): %s",
			  disks->queue[i], strerrordesc_np(-ret));
	while (i--)
		if (before[i] && before[i] != NEVER)
			queue_set(disks->queue[i], before[i]);
	return ret;
}

bool p2pbuf_disks_merge(const struct p2pbuf_disks *disks)
{
	unsigned int i;

	if (disks->is_multipath)
		return true;
	for (i = 0; i < disks->queues; i++)
		if (queue_get(disks->queue[i]) != NEVER)
			return true;
	return false;
}
