"""The hold model in SimPy: every node waits 5 to 15 minutes, again and again.

Arguments: nodes, events. Prints events per second and resident bytes per node.
"""

import random
import resource
import sys
import time

import simpy


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def node(environment, wait):
    while True:
        yield environment.timeout(wait())


def main():
    nodes, events = int(sys.argv[1]), int(sys.argv[2])
    draw = random.Random(7).random
    before = resident()
    environment = simpy.Environment()
    for _ in range(nodes):
        environment.process(node(environment, lambda: 300_000 + draw() * 600_000))
    for _ in range(2 * nodes):
        environment.step()
    began = time.perf_counter()
    for _ in range(events):
        environment.step()
    took = time.perf_counter() - began
    print(events / took, (resident() - before) / nodes)


main()
