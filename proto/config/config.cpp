#include "proto/config/config.h"

#include "common/net/endpoint.h"
#include "proto/jobspec/resources.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

namespace rtrain::proto {
namespace {

ConfigField text(std::string name, std::string& value, std::string help) {
  return {std::move(name), "string", std::move(help), [&value] { return Json(value); },
          [&value](const Json& j) -> std::string {
            if (!j.is_string()) return "expected a string";
            value = j.get<std::string>();
            return {};
          }};
}

/// `port`: of a host that stands alone; 0: there must be one.
ConfigField address(std::string name, std::string& value, std::string help, std::uint16_t port = 0) {
  auto field = text(std::move(name), value, std::move(help));
  field.set = [&value, port](const Json& j) -> std::string {
    if (!j.is_string()) return "expected a string";
    const auto given = port == 0 ? j.get<std::string>() : net::with_port(j.get<std::string>(), port);
    const auto endpoint = net::parse_endpoint(given);
    if (!endpoint) return endpoint.error().message();
    value = given;
    return {};
  };
  return field;
}

ConfigField choice(std::string name, std::string& value, std::vector<std::string> choices, std::string help) {
  auto field = text(std::move(name), value, std::move(help));
  field.set = [&value, choices = std::move(choices)](const Json& j) -> std::string {
    std::string list;
    for (const auto& c : choices) list += (list.empty() ? "" : ", ") + c;
    if (!j.is_string() || std::find(choices.begin(), choices.end(), j.get<std::string>()) == choices.end())
      return "must be one of " + list;
    value = j.get<std::string>();
    return {};
  };
  return field;
}

ConfigField number(std::string name, double& value, double min, double max, std::string help) {
  return {std::move(name), "number", std::move(help), [&value] { return Json(value); },
          [&value, min, max](const Json& j) -> std::string {
            if (!j.is_number() || !std::isfinite(j.get<double>())) return "expected a number";
            const double n = j.get<double>();
            if (n < min || n > max)
              return number_text(n) + " is out of range; it must be from " + number_text(min) + " to " +
                     number_text(max);
            value = n;
            return {};
          }};
}

ConfigField integer(std::string name, int& value, int min, int max, std::string help) {
  return {std::move(name), "integer", std::move(help), [&value] { return Json(value); },
          [&value, min, max](const Json& j) -> std::string {
            if (!j.is_number_integer()) return "expected a whole number";
            const double n = j.get<double>();
            if (n < min || n > max)
              return number_text(n) + " is out of range; it must be from " + std::to_string(min) + " to " +
                     std::to_string(max);
            value = j.get<int>();
            return {};
          }};
}

/// An amount of bytes with a least value, or 0 for none.
ConfigField bytes_or_none(std::string name, std::int64_t& value, std::int64_t min, std::string help) {
  return {std::move(name), "integer", std::move(help), [&value] { return Json(value); },
          [&value, min](const Json& j) -> std::string {
            if (!j.is_number_integer()) return "expected a whole number of bytes";
            const double n = j.get<double>();
            if (n != 0 && (n < static_cast<double>(min) || n > 9e15))
              return number_text(n) + " is out of range; it must be 0 (no bound) or at least " +
                     std::to_string(min);
            value = j.get<std::int64_t>();
            return {};
          }};
}

ConfigField boolean(std::string name, bool& value, std::string help) {
  return {std::move(name), "boolean", std::move(help), [&value] { return Json(value); },
          [&value](const Json& j) -> std::string {
            if (!j.is_boolean()) return "expected true or false";
            value = j.get<bool>();
            return {};
          }};
}

ConfigField amounts(std::string name, Resources& value, std::string help) {
  return {std::move(name), "object", std::move(help), [&value] { return Json(value); },
          [&value](const Json& j) -> std::string {
            if (!j.is_object()) return "expected an object of amounts, such as {\"CPU\": 8}";
            Resources read;
            for (const auto& [key, amount] : j.items()) {
              const auto bytes = key == "memory" && amount.is_string()
                                     ? parse_bytes(amount.get<std::string>())
                                     : std::nullopt;
              if (!bytes && (!amount.is_number() || !(amount.get<double>() >= 0)))
                return key + ": expected a number that is not negative";
              read[key] = bytes ? *bytes : amount.get<double>();
              if (read[key] > amount_max(key))
                return key + ": " + number_text(read[key]) + " is out of range; it must be from 0 to " +
                       number_text(amount_max(key));
            }
            value = std::move(read);
            return {};
          }};
}

/// "rack=r1,zone=b", as Ray writes labels on its command line. False: it is not that.
bool add_labels(std::string_view text, std::map<std::string, std::string>& labels) {
  for (std::size_t end = 0; end != text.npos; text.remove_prefix(end == text.npos ? 0 : end + 1)) {
    end = text.find(',');
    const auto word = text.substr(0, end);
    const auto equals = word.find('=');
    if (equals == word.npos || equals == 0) return false;
    labels[std::string(word.substr(0, equals))] = word.substr(equals + 1);
  }
  return true;
}

ConfigField labels(std::string name, std::map<std::string, std::string>& value, std::string help) {
  return {std::move(name), "object", std::move(help), [&value] { return Json(value); },
          [&value](const Json& j) -> std::string {
            std::map<std::string, std::string> read;
            const bool words = j.is_string() && add_labels(j.get<std::string>(), read);
            if (!words && !j.is_object())
              return "expected an object of strings, such as {\"rack\": \"r1\"}, or rack=r1,zone=b";
            if (!words)
              for (const auto& [key, label] : j.items()) {
                if (!label.is_string()) return key + ": expected a string";
                read[key] = label.get<std::string>();
              }
            for (const auto& [key, label] : read)
              if (const auto wrong = check_label(key, label); !wrong) return wrong.error().message();
            value = std::move(read);
            return {};
          }};
}

ConfigField queues(std::string name, Queues& value, std::string help) {
  return {std::move(name), "object", std::move(help), [&value] { return to_json(value); },
          [&value](const Json& j) -> std::string {
            auto read = read_queues(j);
            if (!read) return read.error().message();
            value = std::move(*read);
            return {};
          }};
}

const std::vector<std::string> kLogLevels{"trace", "debug", "info", "warn", "error"};

std::string variable_of(const std::string& field) {
  std::string name = "RTRAIN_";
  for (const char c : field) name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

}  // namespace

std::vector<ConfigField> fields(HeadConfig& c) {
  return {
      address("listen", c.listen, "where agents connect: host:port or unix:/path"),
      address("api_listen", c.api_listen, "where users connect (HTTP): host:port or unix:/path"),
      text("state_dir", c.state_dir, "folder of the head's durable state"),
      text("token_file", c.token_file,
           "file with the cluster's token, mode 0600; default: ~/.local/state/rtrain/token, made at the "
           "first start"),
      text("api_socket_group", c.api_socket_group,
           "group whose members may use the API when it is a Unix socket; default: none"),
      number("heartbeat_s", c.heartbeat_s, 0.05, 60, "seconds between heartbeats"),
      number("lease_s", c.lease_s, 0.2, 3600,
             "seconds of silence after which an agent is lost; more than 2 heartbeats"),
      integer("queue_max", c.queue_max, 1, 10'000'000, "waiting jobs; a submit above is refused"),
      integer("spec_memory_mib", c.spec_memory_mib, 16, 1'000'000,
              "MiB that the specs of jobs which have not ended may take; a submit above is refused"),
      queues(
          "queues", c.queues,
          "queues beside default and their rules, such as {\"research\": {\"weight\": 2, \"gpus_max\": 64}}"),
      number("fair_share_half_life_s", c.fair_share_half_life_s, 60, 31'536'000,
             "seconds after which what was used counts half for fair shares"),
      integer("connections_max", c.connections_max, 8, 1'000'000,
              "open connections of agents and users together"),
      number("backup_interval_s", c.backup_interval_s, 0, 86'400'000,
             "seconds between backups of the journal into state_dir/backups; 0: none"),
      integer("backups_kept", c.backups_kept, 1, 100'000, "the newest backups that stay"),
      number("retention_days", c.retention_days, 0, 100'000,
             "days after which a job that ended is forgotten; 0: never by age"),
      integer("retention_jobs", c.retention_jobs, 0, 1'000'000'000,
              "ended jobs that stay known, those that ended last; 0: all"),
      boolean("accept_clock", c.accept_clock,
              "take the machine's clock as it is at this start, however far it is from what was known"),
      choice("log_level", c.log_level, kLogLevels, "trace, debug, info, warn or error"),
  };
}

std::vector<ConfigField> fields(AgentConfig& c) {
  return {
      address("head", c.head, "the head's cluster address: host, host:port or unix:/path", 7337),
      text("node_name", c.node_name, "unique name of this node; default: the host name"),
      text("address", c.address,
           "address at which other nodes reach this one; default: that of the connection to the head"),
      text("state_dir", c.state_dir, "folder of rank logs and exit records"),
      text("token_file", c.token_file,
           "file with the cluster's token, mode 0600; default, for a head on this machine: "
           "~/.local/state/rtrain/token"),
      amounts("resources", c.resources,
              "what this node offers, such as {\"CPU\": 8, \"memory\": \"8GiB\"}; default: what is found"),
      labels("labels", c.labels, "labels of this node, such as {\"rack\": \"r1\"}"),
      text("socket", c.socket, "Unix socket of the ranks and supervisors; default: <state_dir>/agent.sock"),
      text("worker_program", c.worker_program, "rtrain-worker; default: beside this program"),
      text("keeper_program", c.keeper_program, "rtrain-keeper; default: beside this program"),
      boolean("prestart_zygote", c.prestart_zygote,
              "load LibTorch at start instead of at the first job that needs it"),
      number("worker_lease_s", c.worker_lease_s, 0.2, 3600,
             "seconds without a word from its agent after which a worker ends itself"),
      choice("cgroup", c.cgroup, {"auto", "off"},
             "auto: each rank in a control group of its own, where possible; off: never"),
      number("kill_wait_s", c.kill_wait_s, 0.1, 3600,
             "seconds after SIGKILL after which a rank is given up and its GPUs are quarantined"),
      bytes_or_none("log_bytes_max", c.log_bytes_max, std::int64_t{1} << 20,
                    "largest log of one rank; above it the oldest part is cut; 0: no bound"),
      choice("log_level", c.log_level, kLogLevels, "trace, debug, info, warn or error"),
  };
}

std::vector<SpecError> apply_json(std::vector<ConfigField>& fields, const Json& document) {
  if (!document.is_object()) return {{"", "a configuration is a JSON object"}};
  std::vector<std::string> names;
  for (const auto& field : fields) names.push_back(field.name);
  std::vector<SpecError> errors;
  for (const auto& [key, value] : document.items()) {
    if (key == "$schema" || value.is_null()) continue;
    const auto field = std::ranges::find(fields, key, &ConfigField::name);
    if (field == fields.end()) {
      const auto near = nearest(key, names);
      errors.push_back({key, near.empty() ? "unknown key" : "unknown key; did you mean " + near + "?"});
    } else if (auto wrong = field->set(value); !wrong.empty()) {
      errors.push_back({key, std::move(wrong)});
    }
  }
  return errors;
}

std::string apply_text(ConfigField& field, const std::string& text) {
  if (field.type == "string") return field.set(Json(text));
  auto value = parse_json(text);
  auto wrong = field.set(value ? *value : Json(text));  // words may stand for more than a string: "rack=r1"
  return wrong.empty() ? wrong : "\"" + text + "\": " + wrong;
}

std::vector<SpecError> apply_environment(std::vector<ConfigField>& fields,
                                         const std::function<const char*(const char*)>& getenv) {
  std::vector<SpecError> errors;
  for (auto& field : fields) {
    const std::string variable = variable_of(field.name);
    const char* text = getenv(variable.c_str());
    if (text == nullptr) continue;
    if (auto wrong = apply_text(field, text); !wrong.empty()) errors.push_back({variable, std::move(wrong)});
  }
  return errors;
}

std::vector<SpecError> check(const HeadConfig& config) {
  if (config.lease_s > 2 * config.heartbeat_s) return {};
  return {{"lease_s", number_text(config.lease_s) + " must be more than twice heartbeat_s (" +
                          number_text(config.heartbeat_s) + ")"}};
}

}  // namespace rtrain::proto
