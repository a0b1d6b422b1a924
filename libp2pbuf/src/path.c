// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A path verdict in words. The facts are the kernel's; sysfs is asked only for
 * what a device is called and which switch two devices share, and a sentence
 * does without where sysfs does not tell.
 */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* PCIe 6.0 section 7.7.11.3 */
#define ACS_RR	0x0004
#define ACS_CR	0x0008
#define ACS_EC	0x0020

const char *p2pbuf_path_name(uint32_t path)
{
	switch (path) {
	case P2PBUF_PATH_BUS:
		return "bus";
	case P2PBUF_PATH_BRIDGE:
		return "bridge";
	case P2PBUF_PATH_SYSTEM:
		return "system";
	case P2PBUF_PATH_REFUSED:
		return "refused";
	}
	return "none";
}

void p2pbuf_pci_text(uint32_t pci, char text[P2PBUF_BDF_LEN])
{
	snprintf(text, P2PBUF_BDF_LEN, "%04x:%02x:%02x.%x", pci >> 16,
		 pci >> 8 & 0xff, pci >> 3 & 0x1f, pci & 7);
}

bool p2pbuf_pci_parse(const char *text, uint32_t *pci)
{
	unsigned int domain, bus, dev, fn;
	char again[P2PBUF_BDF_LEN];

	if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &dev, &fn) != 4)
		return false;
	*pci = domain << 16 | bus << 8 | dev << 3 | fn;
	p2pbuf_pci_text(*pci, again);
	return !strcmp(again, text);
}

static const char *class_word(unsigned int class)
{
	if (class == 0x010802)
		return "NVMe drive";
	switch (class >> 16) {
	case 0x01:
		return "storage controller";
	case 0x02:
		return "network device";
	case 0x03:
		return "display device";
	case 0x06:
		return "bridge";
	case 0x12:
		return "accelerator";
	}
	return "device";
}

/* "the NVMe drive 0000:05:00.0" */
static void name_device(uint32_t pci, char *text, size_t size)
{
	char bdf[P2PBUF_BDF_LEN], path[64];
	unsigned int class = 0;
	FILE *f;

	if (pci == P2PBUF_PATH_NO_DEVICE) {
		snprintf(text, size, "the device");
		return;
	}
	p2pbuf_pci_text(pci, bdf);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/class", bdf);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%x", &class) != 1)
			class = 0;
		fclose(f);
	}
	snprintf(text, size, "the %s %s", class_word(class), bdf);
}

/*
 * The lowest device above both, "" when that is the host bridge or unknown.
 * sysfs nests a device's directory in that of the bridge above it.
 */
static void common_port(uint32_t a, uint32_t b, char port[P2PBUF_BDF_LEN])
{
	char bdf[P2PBUF_BDF_LEN], link[64], *pa, *pb;
	size_t i, last = 0, before = 0;

	port[0] = '\0';
	p2pbuf_pci_text(a, bdf);
	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s", bdf);
	pa = realpath(link, NULL);
	p2pbuf_pci_text(b, bdf);
	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s", bdf);
	pb = realpath(link, NULL);
	if (!pa || !pb)
		goto free;

	/* [before, last) is the last whole component that both share. */
	for (i = 0; pa[i] && pa[i] == pb[i]; i++) {
		if (pa[i] == '/') {
			before = last;
			last = i + 1;
		}
	}
	if (last > before && strncmp(pa + before, "pci", 3))
		snprintf(port, P2PBUF_BDF_LEN, "%.*s", (int)(last - before - 1),
			 pa + before);
free:
	free(pa);
	free(pb);
}

static void acs_text(uint32_t bits, char *text, size_t size)
{
	snprintf(text, size, "ACS%s%s%s", bits & ACS_RR ? " RR" : "",
		 bits & ACS_CR ? " CR" : "", bits & ACS_EC ? " EC" : "");
}

static int describe_refusal(const struct p2pbuf_path_info *path,
			    const char *importer, const char *exporter,
			    char *text, size_t size)
{
	char blocker[P2PBUF_BDF_LEN] = "", acs[24], other[16];

	if (path->blocker != P2PBUF_PATH_NO_DEVICE)
		p2pbuf_pci_text(path->blocker, blocker);

	switch (path->reason) {
	case P2PBUF_REASON_NOT_PEER:
		return snprintf(text, size,
				"the buffer lies in host memory: I/O by %s would not be peer to peer",
				importer);
	case P2PBUF_REASON_NO_ROUTE:
		return snprintf(text, size,
				"%s cannot reach %s: they share no PCIe switch, and the host bridge%s%s is not known to forward between its root ports",
				importer, exporter, blocker[0] ? " at " : "",
				blocker);
	case P2PBUF_REASON_ACS:
		acs_text(path->blocker_acs, acs, sizeof(acs));
		return snprintf(text, size,
				"%s cannot reach %s: bridge %s redirects peer requests upstream (%s), and the host bridge does not forward them",
				importer, exporter, blocker, acs);
	case P2PBUF_REASON_DEAD_BAR:
		return snprintf(text, size,
				"%s cannot reach %s: BAR %u does not decode, memory access is off there or on a bridge above",
				importer, exporter, path->exporter_bar);
	case P2PBUF_REASON_NOWHERE:
		return snprintf(text, size,
				"an address that %s was given leads nowhere: neither to a BAR nor to memory",
				importer);
	case P2PBUF_REASON_BUS_UNDER_IOMMU:
		return snprintf(text, size,
				"%s was given a bus address of %s, but the IOMMU in front of it translates and would lose the data",
				importer, exporter);
	case P2PBUF_REASON_BOUNCE:
		return snprintf(text, size,
				"%s reaches the buffer only through bounce buffers or with CPU cache maintenance around each transfer",
				importer);
	case P2PBUF_REASON_OPAQUE:
		return snprintf(text, size,
				"nobody can tell where the addresses that %s was given lead",
				importer);
	case P2PBUF_REASON_EXPORTER:
		return snprintf(text, size,
				"the exporter refused to map the buffer for %s",
				importer);
	case P2PBUF_REASON_UNALIGNED:
		return snprintf(text, size,
				"the exporter gave %s a segment that is not made of whole pages",
				importer);
	}
	snprintf(other, sizeof(other), "reason %u", path->reason);
	return snprintf(text, size, "%s cannot reach %s: %s", importer, exporter,
			other);
}

int p2pbuf_path_describe(const struct p2pbuf_path_info *path, char *text,
			 size_t size)
{
	bool iommu = path->flags & P2PBUF_PATH_F_IOMMU;
	char importer[48], exporter[48], port[P2PBUF_BDF_LEN] = "";
	const char *unproven = "";

	name_device(path->importer, importer, sizeof(importer));
	name_device(path->exporter, exporter, sizeof(exporter));
	/* A way there may be; not one that the caller accepts. */
	if (path->reason != P2PBUF_REASON_NONE)
		return describe_refusal(path, importer, exporter, text, size);

	switch (path->path) {
	case P2PBUF_PATH_BUS:
		common_port(path->importer, path->exporter, port);
		if (path->flags & P2PBUF_PATH_F_UNPROVEN)
			unproven = ", before the IOMMU sees it (not proven)";
		return snprintf(text, size,
				"%s reaches BAR %u of %s, peer to peer, through the PCIe switch%s%s%s",
				importer, path->exporter_bar, exporter,
				port[0] ? " below " : "", port,
				unproven);
	case P2PBUF_PATH_BRIDGE:
		return snprintf(text, size,
				"%s reaches BAR %u of %s, peer to peer, through the host bridge, by %s",
				importer, path->exporter_bar, exporter,
				iommu ? "IOMMU address" : "physical address");
	case P2PBUF_PATH_SYSTEM:
		return snprintf(text, size,
				"%s reaches the buffer in host memory, not peer to peer",
				importer);
	case P2PBUF_PATH_REFUSED:
		return describe_refusal(path, importer, exporter, text, size);
	}
	return snprintf(text, size, "the buffer is not mapped for %s now",
			importer);
}
