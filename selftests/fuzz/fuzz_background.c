// SPDX-License-Identifier: GPL-2.0
/*
 * What goes on meanwhile: buffers that everybody uses move, VRAM of the
 * smaller exporter runs out, and drivers lose their devices and get them back.
 * How often is counted in calls of the workers, not in time: a slow machine
 * must not do nothing else.
 *
 * What is unbound is a test device only: the second exporter, or the drive
 * with the role `error`.
 */
#include "fuzz.h"

#define DRIVERS	"/sys/bus/pci/drivers/"

static const int move_errnos[] = {
	EBUSY, EXDEV, ENOSPC, ENOMEM, EINTR, ENODEV, 0
};

/* Until @calls more were made; false when it is over. */
static bool after(__u64 calls)
{
	__u64 until = fz->calls + fz_pace(calls);

	while (!fz_over() && fz->calls < until)
		usleep(20000);
	return !fz_over();
}

void fz_mover(struct fz_proc *proc, struct fz_rng *rng)
{
	while (after(50 + fz_below(rng, 200))) {
		unsigned int i = fz_below(rng, FZ_COMMON);
		__u32 flags = fz_below(rng, 2);
		__u32 where = 1U << fz_below(rng, 2);

		fz_count_call(proc, "MOVE, common",
			      ptx_move(fz_common_drm, fz_common_handle[i],
				       where, flags), move_errnos);
	}
}

/* More than the second exporter has, in pieces, and all of it given back. */
void fz_evictor(struct fz_proc *proc, struct fz_rng *rng)
{
	struct drm_p2pbuf_gem_create bo;
	unsigned int i, n;
	int fd, ret;

	while (after(5000 + fz_below(rng, 10000))) {
		fd = ptx_open(1);
		if (fd < 0)
			continue;
		n = 4 + fz_below(rng, 8);
		for (i = 0; i < n && !fz_over(); i++) {
			ret = ptx_create(fd, (1 + fz_below(rng, 8)) * PTN_MIB,
					 P2PBUF_PLACEMENT_VRAM, 0, &bo);
			fz_count_call(proc, "CREATE, pressure", ret, NULL);
		}
		close(fd);
	}
}

static bool bound(const char *driver, const char *pci)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DRIVERS "%s/%s", driver, pci);
	return !access(path, F_OK);
}

static void driver_write(const char *driver, const char *what, const char *pci)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DRIVERS "%s/%s", driver, what);
	ptk_write(path, pci);
}

struct victim {
	const char *driver;
	const char *variable;
};

static const struct victim victims[FZ_VICTIMS] = {
	[FZ_EXPORTER] = { "p2pbuf_exporter", "P2PBUF_EXPORTER2_PCI" },
	[FZ_DRIVE] = { "nvme", "P2PBUF_NVME_ERROR_PCI" },
};

bool fz_unbind(enum fz_victim victim)
{
	const struct victim *v = &victims[victim];
	const char *pci = getenv(v->variable);

	if (!pci || !bound(v->driver, pci))
		return false;
	driver_write(v->driver, "unbind", pci);
	return !bound(v->driver, pci);
}

void fz_rebind(void)
{
	unsigned int i;

	for (i = 0; i < FZ_VICTIMS; i++) {
		const char *pci = getenv(victims[i].variable);

		if (pci && !bound(victims[i].driver, pci))
			driver_write(victims[i].driver, "bind", pci);
	}
}

void fz_unbinder(struct fz_proc *proc, struct fz_rng *rng)
{
	while (after(50000 + fz_below(rng, 100000))) {
		enum fz_victim victim = fz_below(rng, FZ_VICTIMS);

		fz_fixed_paged(!fz_once_in(rng, 4));
		fz->no_slots = victim == FZ_EXPORTER;
		fz_count_call(proc, "unbind a driver",
			      fz_unbind(victim) ? 0 : -EBUSY, NULL);
		fz->no_slots = 0;
		after(fz_below(rng, 5000));
		fz_rebind();
		/* Whoever comes to a new device opens it anew. */
		fz->devices_gone++;
	}
}
