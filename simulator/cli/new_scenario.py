"""The text of `interlude new scenario`: a small comparison that runs at once, every section explained."""

from string import Template

from interlude.simulator.scenario.shipped import SCHEMA_FILE

SCENARIO = Template(f"""\
# yaml-language-server: $$schema={SCHEMA_FILE}
#
# $name: what is compared here, and why. Times are simulated seconds, whatever this machine takes.
# 'interlude check $name.yaml' says what would run; 'interlude list methods', and datasets, distributions, encoders,
# say what names there are; 'interlude explain METHOD' prints a method's formulas and options.
name: $name # its runs are in runs/$name/<label>-s<seed>
seed: 0 # of everything that is drawn
# extends: base.yaml # another scenario, relative to this file, that this one is laid over

data:
  dataset: cg-digits # comes with a library; your own files: folder, table, images, arrow
  partition: {{kind: dirichlet, alpha: 2.0}} # how clients share the samples: iid, natural, ...

model:
  encoder: mlp # of every modality, or one for each: {{gray: mlp, color: conv4}}
  width: 64 # features of each modality
  fusion: concat # or late_sum

clients:
  count: 16
  # modalities: {{color: 0.7}} # share of clients that hold one, 1 where it is not named

world: # how long everything takes; a number, or a distribution over clients
  arrival: # from the start of a local round until a modality's data are there
    gray: {{per_client: {{distribution: lognormal, median_s: 4.0, sigma: 1.0}}}}
    color: {{per_client: {{distribution: lognormal, median_s: 4.0, sigma: 1.0}}, jitter_sigma: 0.3}}
  compute: {{throughput_gflops: {{distribution: lognormal, median: 0.05, sigma: 0.8}}}}
  network: {{uplink_mbps: 2.0, downlink_mbps: 8.0, latency_ms: 50}}
  # faults: {{dropout_probability: 0.05}} # uploads that break off
  # availability: {{kind: markov, mean_on_s: 600, mean_off_s: 300}} # unset: clients are always there

training: # of every method whose entry says nothing else
  local_epochs: 1
  batch_size: 32
  optimizer: {{name: sgd, learning_rate: 0.05}}

methods: # compared side by side on the same world
  - {{name: fedavg}}
  - {{name: fedasync, label: fedasync-first, waiting: first}} # an entry's label names its run
  - {{name: mba}}
  # - {{name: my_method:MyMethod}} # one of your own, beside this file: interlude new method my_method

until: {{simulated_s: 300}} # or versions, accuracy, patience_s: whichever comes first
evaluate:
  every_s: 10 # takes no simulated time
  target_accuracy: 0.4 # whose time is reported

# variants: # sets of changes, each a scenario of its own
#   slow: {{world.network.uplink_mbps: 0.2}}
# sweep: # interlude sweep $name.yaml: every value with every other, and seeds
#   clients.count: [16, 32]
#   seed: [0, 1, 2]
""")
"""A scenario; ``$$name`` is its name."""
