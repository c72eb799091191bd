// What all metrics are made of: named states, and the rules by which two states become one.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

namespace detail {
struct MetricStore;  // the states of one metric; they stay where they are when the metric is moved
}  // namespace detail

/// A metric's states by name, and "updates", the number of its updates (int64, on the CPU). Those of the
/// members of a collection have the member's name before them ("acc.tp").
using MetricStates = std::map<std::string, torch::Tensor>;

/// What the kMerge states of two disjoint parts of the data come to together. Associative; the initial states
/// change nothing: merge(initial, x) is x.
using MetricMerge = MetricStates (*)(const MetricStates&, const MetricStates&);

/// What a metric comes to: one tensor, or several with names (a curve, a value a class, a collection).
class RTRAIN_API MetricOutput {
 public:
  using Named = std::vector<std::pair<std::string, torch::Tensor>>;
  MetricOutput(torch::Tensor value) : all_{{"", std::move(value)}} {}  // NOLINT: implicit on purpose
  MetricOutput(Named named) : named_(true), all_(std::move(named)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool is_named() const { return named_; }
  /// In the metric's order; of one tensor one entry whose name is empty. By value: a loop over
  /// `metric.compute().all()` outlives what compute() returned.
  [[nodiscard]] Named all() const { return all_; }
  /// @throws std::logic_error it has names; they are in the text.
  [[nodiscard]] torch::Tensor tensor() const;
  operator torch::Tensor() const { return tensor(); }  // NOLINT: implicit on purpose
  /// @throws std::out_of_range no such name; those that are there are in the text.
  [[nodiscard]] torch::Tensor at(const std::string& name) const;
  /// The number; waits for the device. @throws std::logic_error it has names, or is no tensor of one element.
  [[nodiscard]] double item() const;

 private:
  bool named_ = false;
  Named all_;
};

/// A value that is gathered update by update. A class of your own declares its states, changes them in an
/// update function that ends with count_update(), and says in value() what they come to:
///   struct Hits : rtrain::Metric {
///     Hits() : Metric("Hits") {}
///     void update(const torch::Tensor& hits) { sum = sum + hits.sum(); count_update(); }
///     torch::Tensor& sum = add_state("sum", torch::zeros({}, torch::kInt64), Reduce::kSum);
///    protected:
///     rtrain::MetricOutput value() const override { return sum; }
///   };
/// States are assigned, not changed in place: the tensor before may be another's, or one of inference mode.
/// @thread one thread at a time. Updates of the SDK's own metrics do not wait for a GPU, but where they say
/// so.
/// @lifetime can be moved, not copied; references to states stay valid when it is moved.
class RTRAIN_API Metric {
 public:
  /// How the states of ranks, or of batches, become one. kMean weighs by the number of updates. kCat joins
  /// rows along dimension 0, rank by rank. kMerge calls the function of set_merge().
  enum class Reduce { kSum, kMean, kMin, kMax, kCat, kMerge };

  explicit Metric(std::string name = "Metric");  ///< what messages call it
  virtual ~Metric();
  Metric(Metric&&) noexcept;
  Metric(const Metric&) = delete;
  Metric& operator=(const Metric&) = delete;
  Metric& operator=(Metric&&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  /// The initial states, on the device where the metric is.
  virtual void reset();
  /// Whether there was an update since reset().
  [[nodiscard]] bool updated() const { return update_count() > 0; }
  [[nodiscard]] std::int64_t update_count() const;
  /// Of this rank's updates since reset(). Without any it is what the initial states come to (0 for Accuracy,
  /// NaN for a mean), with one warning. Changes no state.
  [[nodiscard]] MetricOutput compute() const;
  /// Of other states of this metric, such as those of all ranks (sync_metrics()); its own are the same after
  /// it. @throws as load_state_dict().
  [[nodiscard]] MetricOutput compute(const MetricStates& states) const;
  /// What the last call of operator() returned: the value of that batch alone.
  [[nodiscard]] const std::optional<MetricOutput>& batch_value() const { return batch_value_; }

  void to(torch::Device device);
  [[nodiscard]] torch::Device device() const;

  /// The tensors are the metric's own: the next update replaces them, it does not change them.
  [[nodiscard]] MetricStates state_dict() const;
  /// The states are taken to the metric's device and types. @throws std::invalid_argument a state is missing,
  /// unknown or has another shape, all at once; nothing is changed then.
  void load_state_dict(const MetricStates& states);
  /// The states of two disjoint parts of the data together: of the ranks of another world size, of batches.
  [[nodiscard]] MetricStates merged(const MetricStates& a, const MetricStates& b) const;

 protected:
  /// Declares a state; in the constructor or an initializer only.
  /// @param initial its value after reset(). Of kCat: no rows, [0, ...]; the rest is the shape of a row.
  /// @return where its value is, for as long as the metric lives. kCat's holds all rows in value() only; rows
  /// are added with append().
  /// @throws std::logic_error the name is "updates", empty, has a dot or is there already; kCat's has rows.
  torch::Tensor& add_state(const std::string& name, torch::Tensor initial, Reduce reduce);
  /// Adds rows to a kCat state. @param rows [n, ...]. @throws std::invalid_argument another shape of a row.
  void append(const torch::Tensor& state, torch::Tensor rows);
  void set_merge(MetricMerge merge);
  /// At the end of each update.
  void count_update();
  /// The value of the states as they stand. Must cope with the initial ones.
  [[nodiscard]] virtual MetricOutput value() const = 0;
  /// Runs `update` on initial states, keeps the value of them alone as batch_value(), and adds them to those
  /// from before. @throws what `update` throws; the states are those from before then.
  MetricOutput forward(const std::function<void()>& update);
  /// For an operator() that needs no forward(): makes `value` the batch_value().
  MetricOutput keep_batch_value(MetricOutput value);

  /// This metric's states, and its members' with a prefix.
  using Stores = std::vector<std::pair<std::string, detail::MetricStore*>>;
  [[nodiscard]] virtual Stores stores() const;
  /// Those of another metric, which a composite has among its members.
  [[nodiscard]] static Stores stores_of(const Metric& other) { return other.stores(); }
  [[nodiscard]] static MetricOutput value_of(const Metric& other) { return other.value(); }
  /// Takes over the states of a metric with equal ones.
  static void share(const Metric& from, Metric& to);

 private:
  friend struct MetricSyncing;  // sync_metrics()
  std::string name_;
  std::unique_ptr<detail::MetricStore> own_;
  std::optional<MetricOutput> batch_value_;
};

/// A metric of predictions and targets.
class RTRAIN_API PredictionMetric : public Metric {
 public:
  using Metric::Metric;
  /// A batch; one without elements changes nothing but the count of updates. Gradients are not recorded.
  /// @throws std::invalid_argument shapes or types that do not fit, all problems at once; a tensor lies on
  /// another device than the metric.
  void update(const torch::Tensor& preds, const torch::Tensor& target);
  /// update(), and the value of this batch alone.
  MetricOutput operator()(const torch::Tensor& preds, const torch::Tensor& target);
  /// Metrics with the same text have the same states after the same updates: a collection updates one of
  /// them. Empty: like no other.
  [[nodiscard]] virtual std::string update_key() const { return ""; }

 protected:
  /// One batch with elements, on the metric's device.
  virtual void add(const torch::Tensor& preds, const torch::Tensor& target) = 0;
};

}  // namespace rtrain
