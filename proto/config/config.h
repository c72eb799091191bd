// Settings of the daemons: configs/head.json and configs/agent.json. One table of fields serves the file, the
// flags
// (--state-dir) and the environment (RTRAIN_STATE_DIR). Order: flag > RTRAIN_* > file > default.
#pragma once

#include "proto/config/queues.h"
#include "proto/jobspec/jobspec.h"
#include "proto/json.h"

#include <functional>

namespace rtrain::proto {

struct HeadConfig {
  std::string listen = "127.0.0.1:7337";      ///< cluster protocol: "host:port" or "unix:/path"
  std::string api_listen = "127.0.0.1:7338";  ///< user API: the same forms
  std::string state_dir = "/var/lib/rtrain/head";
  std::string token_file;  ///< mode 0600; default: the token of the head's user, made at the first start
  /// whose members may use the API's Unix socket; "": the head's user and root alone
  std::string api_socket_group;
  double heartbeat_s = 2;  ///< 0.05..60
  double lease_s = 60;     ///< > 2 * heartbeat_s; an agent not heard of for this long is lost
  int queue_max = 10000;   ///< waiting jobs; a submit above is refused
  /// memory of the specs of jobs that have not ended, an array's counted once; a submit above is refused
  int spec_memory_mib = 512;
  Queues queues;                            ///< by name; there is always one called default
  double fair_share_half_life_s = 604'800;  ///< 60..31536000; what was used counts half after so long
  int connections_max = 2000;               ///< of both listeners together
  double backup_interval_s = 600;           ///< between backups of the journal; 0: none
  int backups_kept = 6;
  double retention_days = 30;    ///< a job that ended so long ago is forgotten; 0: no limit by age
  int retention_jobs = 100'000;  ///< ended jobs that stay known, the newest; 0: no limit by number
  bool accept_clock =
      false;  ///< take the machine's clock as it is at this start, however far it is from what was known
  std::string log_level = "info";  ///< trace | debug | info | warn | error
};

struct AgentConfig {
  std::string head = "127.0.0.1:7337";  ///< cluster address of the head
  std::string node_name;                ///< default: the host name
  /// advertised to other nodes; default: the local address of the connection to the head
  std::string address;
  std::string state_dir = "/var/lib/rtrain/agent";
  std::string token_file;  ///< default: the token of the agent's user, for a head on this machine
  Resources resources;     ///< default: CPU = cores, memory = physical, GPU = what NVML finds
  std::map<std::string, std::string> labels;
  /// Unix socket of the ranks and supervisors; default: <state_dir>/agent.sock (at most 107 bytes)
  std::string socket;
  std::string worker_program;   ///< default: rtrain-worker beside the running program
  std::string keeper_program;   ///< default: rtrain-keeper beside the running program
  bool prestart_zygote = true;  ///< load LibTorch at start instead of at the first train_func job
  double worker_lease_s = 60;   ///< a worker that does not hear of its agent for this long ends itself
  /// auto: each rank in a control group of its own where the machine allows it; off: never
  std::string cgroup = "auto";
  /// 0.1..3600; a rank that lives on for this long after SIGKILL is given up, its GPUs are quarantined
  double kill_wait_s = 30;
  /// of one rank's log, the oldest part goes first; 0: no bound, else at least 1 MiB
  std::int64_t log_bytes_max = std::int64_t{1} << 30;
  std::string log_level = "info";
};

/// One documented field: how it is read from JSON, a flag or the environment, and shown by --help.
struct ConfigField {
  std::string name;  ///< "state_dir"; flag --state-dir; variable RTRAIN_STATE_DIR
  std::string type;  ///< string | number | integer | boolean | object
  std::string help;
  std::function<Json()> get;                    ///< current value, for --help and `config view`
  std::function<std::string(const Json&)> set;  ///< "" or what is wrong with the value
};
/// The fields of a config, bound to `config`, which must outlive them.
[[nodiscard]] std::vector<ConfigField> fields(HeadConfig& config);
[[nodiscard]] std::vector<ConfigField> fields(AgentConfig& config);

/// Applies a JSON object; all errors at once: unknown keys with the nearest, wrong types, ranges.
[[nodiscard]] std::vector<SpecError> apply_json(std::vector<ConfigField>& fields, const Json& document);
/// Applies every RTRAIN_<NAME> that `getenv` returns. An object is given as JSON.
[[nodiscard]] std::vector<SpecError> apply_environment(std::vector<ConfigField>& fields,
                                                       const std::function<const char*(const char*)>& getenv);
/// Applies one flag's text.
[[nodiscard]] std::string apply_text(ConfigField& field, const std::string& text);
/// What no field can see alone: lease_s against heartbeat_s.
[[nodiscard]] std::vector<SpecError> check(const HeadConfig& config);

}  // namespace rtrain::proto
