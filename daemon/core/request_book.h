// What jobs ask for. Equal requests are one: a long queue is mostly the same few jobs again and again. Pure.
#pragma once

#include "daemon/core/node_stock.h"
#include "daemon/core/reservation.h"

#include <limits>
#include <unordered_map>

namespace rtrain::core {

inline constexpr proto::UnixMs kNever = std::numeric_limits<proto::UnixMs>::max();

/// A job of the queue, as the scheduler sees it.
struct WaitingJob {
  JobId id;
  proto::ScalingConfig scaling;
  proto::SchedulingConfig scheduling = {};  ///< queue, priority, time_limit_s, reservation, topology
  std::string user = {};                    ///< "" unknown
  /// of its last attempt, index = rank: where they are taken again their order stays
  std::vector<std::string> last_nodes = {};
};

/// What every worker of a job needs of its node.
struct Need {
  Amounts amounts;
  proto::Resources resources;  ///< the same by name
  std::string accelerator;     ///< "" any
  proto::LabelSelector selector;
  int reservation = -1;  ///< number of its name; -1: the node must not be reserved
};

/// What a job asks for altogether.
struct Ask {
  int need = 0;     ///< number in the book
  int workers = 1;  ///< as many as that
  int least = 1;    ///< or fewer, but so many
  proto::PlacementStrategy strategy = proto::PlacementStrategy::kPack;
  std::optional<proto::TopologyConfig> topology;
  proto::UnixMs limit_ms = kNever;  ///< it has ended after so long
};

/// A value. Requests are numbered from 0 in the order in which they first appear.
class RequestBook {
 public:
  /// `limit_ms`: that of the job or of its queue.
  [[nodiscard]] int ask_of(const proto::ScalingConfig& scaling, const proto::SchedulingConfig& scheduling,
                           proto::UnixMs limit_ms);
  [[nodiscard]] int reservation(const std::string& name);  ///< its number
  [[nodiscard]] const Ask& ask(int number) const { return asks_[static_cast<std::size_t>(number)]; }
  [[nodiscard]] const Need& need(int number) const { return needs_[static_cast<std::size_t>(number)]; }
  [[nodiscard]] std::size_t asks() const { return asks_.size(); }
  [[nodiscard]] int needs() const { return static_cast<int>(needs_.size()); }
  [[nodiscard]] const std::string& reservation_name(int number) const {
    return reservations_[static_cast<std::size_t>(number)];
  }
  [[nodiscard]] ResourceNames& resources() { return resources_; }

 private:
  std::vector<Ask> asks_;
  std::vector<Need> needs_;
  std::vector<std::string> reservations_;
  /// by all that makes them differ
  std::unordered_map<std::string, int> ask_numbers_, need_numbers_, reservation_numbers_;
  ResourceNames resources_;
};

/// True when a GPU whose product name is `product` ("NVIDIA H100 80GB HBM3") is what `wanted` names: that
/// name, the same without its maker, or its family ("H100"), in any case.
[[nodiscard]] bool is_accelerator(const std::string& product, const std::string& wanted);

}  // namespace rtrain::core
