#include "daemon/agent/agent_record.h"

#include "common/log/log.h"
#include "common/os/file.h"
#include "proto/json.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>

#include <fcntl.h>
#include <unistd.h>

namespace rtrain::agent {
namespace {

using proto::Json;

Json to_json(const std::optional<os::ProcessIdentity>& process) {
  if (!process) return nullptr;
  return {{"pid", process->pid}, {"start_ticks", process->start_ticks}, {"boot", process->boot}};
}

std::optional<os::ProcessIdentity> process_of(const Json& json) {
  if (json.is_null()) return std::nullopt;
  return os::ProcessIdentity{json.at("pid").get<pid_t>(), json.at("start_ticks").get<std::uint64_t>(),
                             json.at("boot").get<std::string>()};
}

std::string path_of(const std::string& state_dir) { return state_dir + "/agent.json"; }

}  // namespace

std::optional<AgentRecord> read_agent_record(const std::string& state_dir) {
  const auto text = os::read_file(path_of(state_dir), 65536);
  const auto json = text ? proto::parse_json(*text) : Result<Json>(text.error());
  if (!json) return std::nullopt;
  try {
    return AgentRecord{json->at("secret").get<std::string>(), json->at("socket").get<std::string>(),
                       process_of(json->at("zygote")), process_of(json->at("keeper")),
                       json->value("cgroup_tree", std::string())};
  } catch (const Json::exception& e) {
    log::warn("the record of an earlier agent cannot be read",
              {{"file", path_of(state_dir)}, {"cause", e.what()}});
    return std::nullopt;
  }
}

Result<Done> write_agent_record(const std::string& state_dir, const AgentRecord& record) {
  const Json json{{"secret", record.secret},
                  {"socket", record.socket},
                  {"zygote", to_json(record.zygote)},
                  {"keeper", to_json(record.keeper)},
                  {"cgroup_tree", record.cgroup_tree}};
  return os::replace_file(path_of(state_dir), proto::dump_json(json) + "\n", 0600);
}

LeaseFile::LeaseFile(const std::string& state_dir)
    : path_(state_dir + "/lease"), fd_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
  if (fd_ < 0)
    log::error("the lease cannot be written down", {{"file", path_}, {"cause", std::strerror(errno)}});
}

LeaseFile::~LeaseFile() {
  if (fd_ >= 0) ::close(fd_);
}

void LeaseFile::write(const Grant& grant) {
  std::ostringstream text;
  text << os::boot_id() << ' ' << std::chrono::nanoseconds(grant.from.time_since_epoch()).count() << ' '
       << grant.length.count() << " .\n";
  // One write of less than a page: whole or not at all for whoever reads it after our death.
  if (fd_ >= 0 && ::pwrite(fd_, text.str().data(), text.str().size(), 0) < 0)
    log::warn("the lease cannot be written down", {{"file", path_}, {"cause", std::strerror(errno)}});
}

std::optional<LeaseFile::Grant> LeaseFile::read() const {
  std::array<char, 256> buffer{};
  const auto size = fd_ < 0 ? -1 : ::pread(fd_, buffer.data(), buffer.size(), 0);
  if (size <= 0) return std::nullopt;
  std::istringstream text(std::string(buffer.data(), static_cast<std::size_t>(size)));
  std::string boot, end;
  std::int64_t from_ns = 0, length_ms = 0;
  text >> boot >> from_ns >> length_ms >> end;
  if (!text || end != "." || boot != os::boot_id()) return std::nullopt;
  return Grant{Time(std::chrono::duration_cast<Time::duration>(std::chrono::nanoseconds(from_ns))),
               std::chrono::milliseconds(length_ms)};
}

}  // namespace rtrain::agent
