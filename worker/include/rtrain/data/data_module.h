// Everything about one source of data in one place, apart from the model: Lightning's LightningDataModule.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/data/data_loaders.h>
#include <rtrain/detail/overrides.h>
#include <rtrain/export.h>
#include <rtrain/hyperparameters_mixin.h>
#include <rtrain/stage.h>

#include <nlohmann/json.hpp>

#include <concepts>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace rtrain {

class Trainer;
struct Attachment;

/// Passed to fit(), validate(), test() or predict() instead of loaders. Its hooks run before those of the
/// callbacks and the module. A loader that it does not give comes from the module.
/// @thread the training thread.
class RTRAIN_API LightningDataModule : public HyperparametersMixin {
 public:
  LightningDataModule() = default;
  virtual ~LightningDataModule();
  // A copied or moved data module is not attached to a Trainer.
  LightningDataModule(const LightningDataModule& other)
      : HyperparametersMixin(other), prepare_data_per_node(other.prepare_data_per_node) {}
  LightningDataModule& operator=(const LightningDataModule&) = delete;

  /// One data set a loader; null: none. Training shuffles.
  struct Datasets {
    std::shared_ptr<const Dataset> train{}, val{}, test{}, predict{};
  };
  /// Lightning's from_datasets(). @param options of all loaders, with shuffle for training.
  [[nodiscard]] static std::shared_ptr<LightningDataModule> from_datasets(Datasets datasets,
                                                                          DataLoaderOptions options = {});

  /// Downloads and unpacks. Once a node, on its local rank 0, or once in all (prepare_data_per_node = false);
  /// the other ranks wait for it. State that it sets is not there on the other ranks: setup() is for that.
  virtual void prepare_data() {}
  virtual void setup(Stage) {}  ///< on every rank
  virtual DataLoaders train_dataloader() { return {}; }
  virtual DataLoaders val_dataloader() { return {}; }
  virtual DataLoaders test_dataloader() { return {}; }
  virtual DataLoaders predict_dataloader() { return {}; }
  /// BatchSizeFinder calls it: the next train_dataloader() has batches of this size.
  /// @return false: there is nothing to set (the default).
  virtual bool set_batch_size(std::int64_t /*size*/) { return false; }
  virtual void teardown(Stage) {}  ///< on every rank, at the end of a run that did not fail
  virtual void on_exception(const std::exception&) {}

  /// By default the module's own hooks of these names.
  virtual Batch on_before_batch_transfer(Batch batch);
  virtual Batch transfer_batch_to_device(Batch batch, torch::Device device);
  virtual Batch on_after_batch_transfer(Batch batch);

  /// What a checkpoint holds of it, under name(). Null: nothing.
  [[nodiscard]] virtual nlohmann::json state_dict() const { return nullptr; }
  virtual void load_state_dict(const nlohmann::json& /*state*/) {}
  [[nodiscard]] virtual std::string name() const;  ///< default: the class's name

  /// @throws std::logic_error if it is not attached to a Trainer.
  [[nodiscard]] Trainer& trainer() const;

  /// false: on shared storage only rank 0 calls prepare_data()
  bool prepare_data_per_node = true;

 private:
  friend struct Attachment;
  std::shared_ptr<Attachment> attachment_;
};

/// The data module a Trainer runs with: by reference, as a temporary, or as a shared_ptr.
class RTRAIN_API AnyDataModule {
 public:
  template <class D>
    requires std::derived_from<std::remove_cvref_t<D>, LightningDataModule>
  AnyDataModule(D&& data) : data_(&data) {  // NOLINT: implicit on purpose
    check<std::remove_cvref_t<D>>();
  }
  /// @throws std::invalid_argument a null pointer.
  template <std::derived_from<LightningDataModule> D>
  AnyDataModule(std::shared_ptr<D> data) {  // NOLINT: implicit on purpose
    check<D>();
    hold(std::move(data));
  }
  [[nodiscard]] LightningDataModule& get() const { return *data_; }
  /// null if it was passed by reference
  [[nodiscard]] const std::shared_ptr<LightningDataModule>& owned() const { return owned_; }

 private:
  template <class D>
  static consteval void check() {
    RTRAIN_CHECK_OVERRIDE(LightningDataModule, D, prepare_data);
    RTRAIN_CHECK_OVERRIDE(LightningDataModule, D, setup);
    RTRAIN_CHECK_OVERRIDE(LightningDataModule, D, teardown);
    RTRAIN_CHECK_OVERRIDE(LightningDataModule, D, train_dataloader);
    RTRAIN_CHECK_OVERRIDE(LightningDataModule, D, val_dataloader);
    RTRAIN_CHECK_OVERRIDE(LightningDataModule, D, test_dataloader);
    RTRAIN_CHECK_OVERRIDE(LightningDataModule, D, predict_dataloader);
    RTRAIN_CHECK_OVERRIDE(LightningDataModule, D, state_dict);
    RTRAIN_CHECK_OVERRIDE(LightningDataModule, D, load_state_dict);
    RTRAIN_CHECK_OVERRIDE(LightningDataModule, D, on_exception);
  }
  void hold(std::shared_ptr<LightningDataModule> data);
  LightningDataModule* data_ = nullptr;
  std::shared_ptr<LightningDataModule> owned_;
};

}  // namespace rtrain
