/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* PCI functions as sysfs shows them, for why.c. */
#ifndef P2PBUF_WHY_PCI_H
#define P2PBUF_WHY_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCI_NAME_LEN	16
#define PCI_DEPTH	32
#define PCI_PATH_LEN	256

/* Prefix of /sys and /proc; tests set it to a tree of their own. */
extern const char *pci_root;

/*
 * A function and the bridges above it, up to its root bus.
 * @n: how many, at least 1
 * @bdf: the function first, its root port (or itself) last
 * @host: folder of the host bridge, "/sys/devices/pci0000:00"
 */
struct pci_chain {
	int n;
	char bdf[PCI_DEPTH][PCI_NAME_LEN];
	char host[PCI_PATH_LEN];
};

int pci_name(const char *text, char *bdf);
int pci_chain(const char *bdf, struct pci_chain *chain);
int pci_first_on_root_bus(const char *host, char *bdf);
bool pci_text(const char *bdf, const char *attribute, char *text, size_t size);
unsigned long pci_number(const char *bdf, const char *attribute);
bool pci_link_name(const char *bdf, const char *link, char *name, size_t size);
int pci_read16(const char *bdf, int where, uint16_t *value);
int pci_ext_capability(const char *bdf, unsigned int id);
int pci_express_type(const char *bdf);

#endif /* P2PBUF_WHY_PCI_H */
