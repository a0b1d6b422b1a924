// SPDX-License-Identifier: GPL-2.0
/*
 * From an importer to a BAR: does the BAR decode, does a switch route the
 * request, does the host bridge forward it?
 *
 * All of it is read from the devices, not from what the kernel cached:
 * pci_p2pdma keeps the first answer it gave for a pair of functions and
 * follows neither ACS nor COMMAND. Only the list of host bridges that forward
 * is taken from the kernel, and it is asked about a pair of functions that is
 * not the real one, because asking about the real one would rewrite the
 * exporter's cached answer and so change how the exporter maps next time.
 */
#include <linux/pci-p2pdma.h>

#include "path.h"

#define PATH_ACS_REDIRECT	(PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC)

static u16 path_acs_redirect(struct pci_dev *pdev)
{
	u16 ctrl;

	if (!pdev->acs_cap)
		return 0;
	pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CTRL, &ctrl);
	if (PCI_POSSIBLE_ERROR(ctrl))
		return 0;
	return ctrl & PATH_ACS_REDIRECT;
}

/* In D0 and told to answer memory requests (a bridge: to pass them down). */
static bool path_decodes(struct pci_dev *pdev)
{
	u16 val;

	pci_read_config_word(pdev, PCI_COMMAND, &val);
	if (PCI_POSSIBLE_ERROR(val) || !(val & PCI_COMMAND_MEMORY))
		return false;
	if (!pdev->pm_cap)
		return true;
	pci_read_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, &val);
	return (val & PCI_PM_CTRL_STATE_MASK) == (__force u16)PCI_D0;
}

/* Does the register at @where of @pdev hold the bus address of @res? */
static bool path_register_is(struct pci_dev *pdev, int where,
			     const struct resource *res)
{
	struct pci_bus_region region;
	u32 low, high = 0;

	/* Enhanced allocation has no register to compare. */
	if (res->flags & IORESOURCE_PCI_EA_BEI)
		return true;

	pci_read_config_dword(pdev, where, &low);
	if (res->flags & IORESOURCE_MEM_64)
		pci_read_config_dword(pdev, where + 4, &high);
	pcibios_resource_to_bus(pdev->bus, &region, (struct resource *)res);
	return (((u64)high << 32) | (low & (u32)PCI_BASE_ADDRESS_MEM_MASK)) ==
	       region.start;
}

#ifdef CONFIG_PCI_IOV
/* A virtual function has neither BAR registers nor COMMAND.MEM of its own. */
static bool path_vf_is_live(struct pci_dev *vf, int bar)
{
	struct pci_dev *pf = pci_physfn(vf);
	int pos = pci_find_ext_capability(pf, PCI_EXT_CAP_ID_SRIOV);
	u16 ctrl;

	if (!pos || !path_decodes(pf))
		return false;
	pci_read_config_word(pf, pos + PCI_SRIOV_CTRL, &ctrl);
	if ((ctrl & (PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE)) !=
	    (PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE))
		return false;
	return path_register_is(pf, pos + PCI_SRIOV_BAR + 4 * bar,
				pci_resource_n(pf, PCI_IOV_RESOURCES + bar));
}
#else
static bool path_vf_is_live(struct pci_dev *vf, int bar)
{
	return false;
}
#endif

static bool path_bar_is_live(struct pci_dev *owner, int bar)
{
	if (owner->is_virtfn)
		return path_vf_is_live(owner, bar);
	return path_decodes(owner) &&
	       path_register_is(owner, PCI_BASE_ADDRESS_0 + 4 * bar,
				pci_resource_n(owner, bar));
}

static struct pci_dev *path_deaf_bridge(struct pci_dev *owner)
{
	struct pci_dev *bridge;

	for (bridge = pci_upstream_bridge(owner); bridge;
	     bridge = pci_upstream_bridge(bridge))
		if (!path_decodes(bridge))
			return bridge;
	return NULL;
}

static struct pci_dev *path_common_port(struct pci_dev *a, struct pci_dev *b)
{
	struct pci_dev *up;

	for (; a; a = pci_upstream_bridge(a))
		for (up = b; up; up = pci_upstream_bridge(up))
			if (a == up)
				return a;
	return NULL;
}

/* The first function from @pdev up to, but without, @top that redirects. */
static struct pci_dev *path_redirector(struct pci_dev *pdev,
				       struct pci_dev *top)
{
	for (; pdev && pdev != top; pdev = pci_upstream_bridge(pdev))
		if (path_acs_redirect(pdev))
			return pdev;
	return NULL;
}

/**
 * path_route_find - read how an importer reaches a BAR
 * @range: the BAR
 * @importer: function that does the DMA
 *
 * Reads config space once per BAR and verdict. No references are needed for
 * the bridges on the way: a child holds its parent.
 *
 * Return: the route, without an answer about the host bridge.
 */
const struct path_route *path_route_find(struct path_range *range,
					 struct pci_dev *importer)
{
	struct path_route *route = &range->route;
	struct pci_dev *top;

	if (route->known)
		return route;

	route->deaf = path_deaf_bridge(range->owner);
	route->live = !route->deaf && path_bar_is_live(range->owner, range->bar);

	top = path_common_port(range->owner, importer);
	if (top) {
		route->redirector = path_redirector(range->owner, top);
		if (!route->redirector)
			route->redirector = path_redirector(importer, top);
		route->bus = !route->redirector;
	}
	if (route->redirector)
		route->acs = path_acs_redirect(route->redirector);
	route->known = true;
	return route;
}

static struct pci_dev *path_root_ancestor(struct pci_dev *pdev)
{
	struct pci_dev *up;

	while ((up = pci_upstream_bridge(pdev)))
		pdev = up;
	return pci_physfn(pdev);
}

/* The lowest function on a root bus but @but, with a reference, or NULL. */
static struct pci_dev *path_root_function(struct pci_bus *bus,
					  struct pci_dev *but)
{
	struct pci_dev *pdev = NULL, *lowest = NULL;

	for_each_pci_dev(pdev) {
		if (pdev->bus != bus || pdev == but)
			continue;
		if (lowest && lowest->devfn < pdev->devfn)
			continue;
		pci_dev_put(lowest);
		lowest = pci_dev_get(pdev);
	}
	return lowest;
}

/**
 * path_route_forwards - does the kernel know the host bridges to forward?
 * @range: the BAR
 * @importer: function that does the DMA
 *
 * What the kernel knows depends on the processor and on the two host bridges
 * alone, so any function of the exporter's root bus stands for the exporter
 * as long as it shares no port with the importer; where it shares one, the
 * kernel would not look at the host bridge at all. A root bus without a second
 * function cannot be asked about and counts as not forwarding.
 *
 * Return: true when requests between the two are known to arrive.
 */
bool path_route_forwards(struct path_range *range, struct pci_dev *importer)
{
	struct path_route *route = &range->route;
	struct device *client = &importer->dev;
	struct pci_dev *stand_in;
	struct pci_bus *root;

	if (route->forwards != FORWARDS_UNASKED)
		return route->forwards == FORWARDS_YES;

	root = pci_find_host_bridge(range->owner->bus)->bus;
	stand_in = path_root_function(root, path_root_ancestor(importer));
	if (stand_in &&
	    pci_p2pdma_distance_many(stand_in, &client, 1, false) >= 0)
		route->forwards = FORWARDS_YES;
	else
		route->forwards = FORWARDS_NO;
	pci_dev_put(stand_in);
	return route->forwards == FORWARDS_YES;
}

/**
 * path_route_host_bridge - the function that stands for a host bridge
 * @pdev: any function below it
 *
 * Return: the first function of the root bus, which is the one that the
 * kernel's list names, with a reference; NULL when it is gone.
 */
struct pci_dev *path_route_host_bridge(struct pci_dev *pdev)
{
	return path_root_function(pci_find_host_bridge(pdev->bus)->bus, NULL);
}
