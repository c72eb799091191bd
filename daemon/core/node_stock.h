// What one node has left, in a form that is counted quickly. Pure.
#pragma once

#include "daemon/core/placement.h"

#include <boost/container/small_vector.hpp>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::core {

/// A hair of slack: resource amounts are doubles that were added and taken away many times.
inline constexpr double kSlack = 1e-6;

/// Resources as small numbers, so that amounts lie in arrays.
class ResourceNames {
 public:
  /// The number of `name`, a new one when it was not heard before.
  [[nodiscard]] int number(const std::string& name);
  [[nodiscard]] const std::string& name(int number) const { return names_[static_cast<std::size_t>(number)]; }

 private:
  std::vector<std::string> names_;
  std::map<std::string, int> numbers_;
};

/// What one worker takes.
struct Amounts {
  std::vector<std::pair<int, double>> each;  ///< by number of the resource, above 0; GPU among them
  double gpus = 0;                           ///< whole GPUs, or a share of one below 1
};
[[nodiscard]] Amounts amounts_of(const proto::Resources& resources, ResourceNames& names);

/// Free amounts and GPUs. A value.
class Stock {
 public:
  Stock() = default;
  /// Of an idle node; GPUs out of service are left out.
  Stock(const NodeView& view, ResourceNames& names, bool idle);

  /// How many workers it takes.
  [[nodiscard]] int capacity(const Amounts& need) const;
  /// Takes the amounts of `workers` and returns their GPUs, worker after worker: of whole ones the lowest
  /// indices, of shares the fullest GPU that has room. Call only where capacity() is at least that.
  std::vector<int> take(const Amounts& need, int workers = 1);
  /// The same of certain GPUs, whatever is free of them.
  void take(const Amounts& need, int workers, const std::vector<int>& gpus) {
    change(need, workers, gpus, -1);
  }
  void give(const Amounts& need, int workers, const std::vector<int>& gpus) {
    change(need, workers, gpus, 1);
  }
  [[nodiscard]] double amount(int resource) const;

 private:
  struct Gpu {
    int index;
    double free;
  };
  void change(const Amounts& need, int workers, const std::vector<int>& gpus, double sign);
  void add(int resource, double amount);

  // As large as most nodes: a pass copies many of them.
  boost::container::small_vector<double, 6> amounts_;  ///< by number of the resource
  boost::container::small_vector<Gpu, 8> gpus_;        ///< by index
  int whole_ = 0;                                      ///< GPUs that are free altogether
};

}  // namespace rtrain::core
