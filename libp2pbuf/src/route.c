// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * From a disk to the exporter's BAR, for I/O that the block layer does.
 *
 * Whether there is a way is the kernel's to say (DRM_IOCTL_P2PBUF_PEER_INFO),
 * for it is the kernel that will map each request. Which way it is, is told
 * from sysfs: a port that both functions share routes the request, unless ACS
 * below it sends it up to the host bridge. One thing the kernel does not see:
 * a hypervisor's IOMMU takes first what its switch should route, and the data
 * is lost without an error. That is refused here.
 */

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include <drm/p2pbuf_drm.h>

#include "internal.h"

#define CHAIN		16
#define ACS_REDIRECT	(PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC)

/* A function and what is above it, itself first. */
struct chain {
	int n;
	char bdf[CHAIN][P2PBUF_BDF_LEN];
};

/* sysfs nests a function's folder in that of the bridge above it. */
static bool chain_find(uint32_t pci, struct chain *chain)
{
	char bdf[P2PBUF_BDF_LEN], link[64], path[PATH_MAX], *slash;

	chain->n = 0;
	p2pbuf_pci_text(pci, bdf);
	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s", bdf);
	if (!realpath(link, path))
		return false;
	while (chain->n < CHAIN && (slash = strrchr(path, '/'))) {
		unsigned int x;

		if (sscanf(slash, "/%x:%x:%x.%x", &x, &x, &x, &x) != 4)
			break;
		snprintf(chain->bdf[chain->n++], P2PBUF_BDF_LEN, "%.15s",
			 slash + 1);
		*slash = '\0';
	}

	return chain->n;
}

/* How many functions of @a are below the first that @b has, too. */
static int below_common(const struct chain *a, const struct chain *b)
{
	int i, j;

	for (i = 0; i < a->n; i++)
		for (j = 0; j < b->n; j++)
			if (!strcmp(a->bdf[i], b->bdf[j]))
				return i;
	return a->n;
}

static bool config_read(int fd, unsigned int where, void *value, size_t size)
{
	return pread(fd, value, size, where) == (ssize_t)size;
}

/* Bits by which @bdf sends peer requests up; 0 also where only root may look. */
static uint16_t acs_redirect(const char *bdf)
{
	unsigned int where = PCI_CFG_SPACE_SIZE, left = 64;
	uint16_t ctrl = 0;
	uint32_t head;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	while (left-- && where >= PCI_CFG_SPACE_SIZE &&
	       config_read(fd, where, &head, sizeof(head))) {
		if (PCI_EXT_CAP_ID(head) == PCI_EXT_CAP_ID_ACS) {
			if (!config_read(fd, where + PCI_ACS_CTRL, &ctrl,
					 sizeof(ctrl)))
				ctrl = 0;
			break;
		}
		where = PCI_EXT_CAP_NEXT(head);
	}
	close(fd);

	return ctrl & ACS_REDIRECT;
}

static bool find_redirector(const struct chain *chain, int below,
			    struct p2pbuf_path_info *path)
{
	uint16_t acs;
	int i;

	for (i = 0; i < below; i++) {
		acs = acs_redirect(chain->bdf[i]);
		if (!acs)
			continue;
		if (!p2pbuf_pci_parse(chain->bdf[i], &path->blocker))
			path->blocker = P2PBUF_PATH_NO_DEVICE;
		path->blocker_acs = acs;
		return true;
	}

	return false;
}

static bool is_translated(uint32_t pci)
{
	char bdf[P2PBUF_BDF_LEN], path[80], type[16] = "identity";
	FILE *f;

	p2pbuf_pci_text(pci, bdf);
	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%s/iommu_group/type", bdf);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(type, sizeof(type), f))
		type[0] = '\0';
	fclose(f);

	return strncmp(type, "identity", 8);
}

static bool is_hypervised(void)
{
	char *line = NULL;
	bool found = false;
	size_t size = 0;
	FILE *f;

	f = fopen("/proc/cpuinfo", "re");
	if (!f)
		return false;
	while (!found && getline(&line, &size, f) > 0 && *line != '\n')
		found = !strncmp(line, "flags", 5) && strstr(line, " hypervisor");
	free(line);
	fclose(f);

	return found;
}

/* Switch or host bridge, of two functions that the kernel lets talk. */
static void find_way(struct p2pbuf_path_info *path)
{
	struct chain exporter, importer;
	int a, b;

	path->path = P2PBUF_PATH_BRIDGE;
	if (!chain_find(path->exporter, &exporter) ||
	    !chain_find(path->importer, &importer))
		return;
	a = below_common(&exporter, &importer);
	b = below_common(&importer, &exporter);
	if (a == exporter.n)
		return;
	if (find_redirector(&exporter, a, path) ||
	    find_redirector(&importer, b, path))
		return;

	path->path = P2PBUF_PATH_BUS;
	if (!(path->flags & P2PBUF_PATH_F_IOMMU))
		return;
	path->flags |= P2PBUF_PATH_F_UNPROVEN;
	if (path->flags & P2PBUF_PATH_F_HYPERVISOR) {
		path->path = P2PBUF_PATH_REFUSED;
		path->reason = P2PBUF_REASON_BUS_UNDER_IOMMU;
	}
}

int p2pbuf_route_find(struct p2pbuf_exporter *exporter, uint32_t importer,
		      struct p2pbuf_path_info *path)
{
	struct drm_p2pbuf_peer_info peer = { .pci = importer };
	int ret;

	memset(path, 0, sizeof(*path));
	path->importer = importer;
	path->exporter = exporter->pci;
	path->exporter_bar = exporter->bar;
	path->blocker = P2PBUF_PATH_NO_DEVICE;
	ret = p2pbuf_ioctl(exporter->fd, DRM_IOCTL_P2PBUF_PEER_INFO, &peer);
	if (ret < 0)
		return ret;

	if (is_translated(importer))
		path->flags |= P2PBUF_PATH_F_IOMMU;
	if (is_hypervised())
		path->flags |= P2PBUF_PATH_F_HYPERVISOR;
	if (peer.flags & P2PBUF_PEER_REACHABLE) {
		find_way(path);
	} else {
		path->path = P2PBUF_PATH_REFUSED;
		path->reason = P2PBUF_REASON_NO_ROUTE;
	}

	return 0;
}
