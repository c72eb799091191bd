#include "proto/message/types.h"

#include "proto/message/type_fields.h"

#include <array>
#include <cstring>

namespace rtrain::proto {
namespace {
constexpr std::array<std::string_view, 4> kValidationStatuses{"pending", "validated", "timeout", "failed"};
}  // namespace

std::span<const std::string_view> enum_names(ValidationStatus) { return kValidationStatuses; }
std::string_view to_string(ValidationStatus status) {
  return kValidationStatuses[static_cast<std::size_t>(status)];
}

std::string to_string(const SweepTrial& trial) {
  return rtrain::to_string(trial.sweep) + "/" + std::to_string(trial.trial);
}

std::string to_string(const ArrayTask& task) {
  return rtrain::to_string(task.id) + "_" + std::to_string(task.index);
}

std::string to_string(const ExitStatus& status) {
  if (status.exit_code) return "exited with code " + std::to_string(*status.exit_code);
  if (status.signal) {
    const char* name = ::sigdescr_np(*status.signal);
    return "was killed by signal " + std::to_string(*status.signal) + " (" +
           (name != nullptr ? name : "unknown") + ")";
  }
  return status.lost ? "was lost: there is no record of how it ended" : "has not ended";
}

void to_json(Json& j, const GpuInfo& v) { codec::write(j, v); }
void from_json(const Json& j, GpuInfo& v) { codec::read(j, v); }
void to_json(Json& j, const NodeInfo& v) { codec::write(j, v); }
void from_json(const Json& j, NodeInfo& v) { codec::read(j, v); }
void to_json(Json& j, const RankPlacement& v) { codec::write(j, v); }
void from_json(const Json& j, RankPlacement& v) { codec::read(j, v); }
void to_json(Json& j, const ExitStatus& v) { codec::write(j, v); }
void from_json(const Json& j, ExitStatus& v) { codec::read(j, v); }
void to_json(Json& j, const RankError& v) { codec::write(j, v); }
void from_json(const Json& j, RankError& v) { codec::read(j, v); }
void to_json(Json& j, const JobError& v) { codec::write(j, v); }
void from_json(const Json& j, JobError& v) { codec::read(j, v); }
void to_json(Json& j, const SweepTrial& v) { codec::write(j, v); }
void from_json(const Json& j, SweepTrial& v) { codec::read(j, v); }
void to_json(Json& j, const ValidatedCheckpoint& v) { codec::write(j, v); }
void from_json(const Json& j, ValidatedCheckpoint& v) { codec::read(j, v); }
void to_json(Json& j, const CheckpointRecord& v) { codec::write(j, v); }
void from_json(const Json& j, CheckpointRecord& v) { codec::read(j, v); }

}  // namespace rtrain::proto
