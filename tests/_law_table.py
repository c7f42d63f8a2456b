"""Which public operation is under which of laws 11 to 14, by what test; or why a law has no meaning for it.

A row has a cell for each law: 11 (cost is local), 12 (axes do not matter), 13 (late is early), 14 (errors end well).
A cell names one or more tests, or says ``no:`` and why. Law 10 (nothing grows) has every name without exception, in
`test_laws_growth.py`, and so has Ctrl-C, which `test_laws_interrupted.py` puts into every call.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["TABLE", "Row", "rows"]


class Row(NamedTuple):
    local: str
    axes: str
    late: str
    endings: str


FEW = "test_few_patches_allocate_as_much_at_any_size"
CORNER = "test_a_model_predicts_a_corner_for_what_a_corner_costs"
FITTED = "test_a_model_is_fitted_on_the_labelled_windows_alone"
CHANNELS = (
    "test_a_model_does_not_care_where_the_channels_stand,"
    " test_a_model_of_the_transposed_image_predicts_the_transposed,"
    " test_a_model_takes_batch_axes_as_so_many_images"
)
STACKS = "test_a_result_has_the_axes_of_the_image"
PICTURES = "test_pictures_show_channels_wherever_they_are"
PERMUTED = "test_a_dask_array_of_permuted_axes_gives_the_permuted_result"
OF_A_FILE = "test_predictions_of_a_file_are_those_of_the_image"
BREAKS = "test_what_user_code_raises_is_what_the_caller_gets"
CTRL_C = "test_a_call_that_is_interrupted_ends_and_can_be_made_again"
HALF = "test_a_fit_that_is_interrupted_leaves_the_model_as_it_was"

ALL = "no: every patch of what it is given takes part, and a corner is image[:20, :20]"
OF_TWO = "no: the name it has the arguments from knows two axes, in this order"
AT_ONCE = "no: one call gives the whole answer; there is nothing to put off"
VALUE = "no: a value that other operations are given"
OTHERS = "no: what is done with it is map_patches"

_model = Row(CORNER, CHANNELS, OF_A_FILE, f"{HALF}, {CTRL_C}")
_verb = Row(ALL, OF_TWO, AT_ONCE, CTRL_C)

TABLE: dict[str, Row] = {
    # the verbs and what they share
    "PatchGrid": Row(
        FEW, "no: it has patched axes only, each by itself", AT_ONCE, CTRL_C
    ),
    "patchify": Row(
        "test_few_patches_take_as_much_memory_of_a_large_image",
        "test_patchify_is_its_slow_twin",
        "test_merging_the_view_restores_the_image",
        CTRL_C,
    ),
    "extract": Row(
        "test_few_patches_take_as_much_memory_of_a_large_image",
        "test_extract_is_its_slow_twin, test_a_picture_may_have_its_channels_anywhere",
        "test_few_patches_of_a_reversed_image_are_those_of_its_copy",
        f"{CTRL_C}, {BREAKS}",
    ),
    "unpatchify": Row(
        ALL,
        "test_unpatchify_is_its_slow_twin, test_a_picture_may_have_its_channels_anywhere",
        "test_streamed_is_in_memory",
        CTRL_C,
    ),
    "Merger": Row(
        FEW, STACKS, "test_the_order_of_add_does_not_reach_the_bits",
        f"test_a_merge_that_raises_leaves_the_merger_as_it_was, {CTRL_C}",
    ),
    "Merge": Row(
        FEW, STACKS, "test_a_merge_of_ones_own",
        f"{BREAKS}, test_a_merge_that_raises_leaves_the_merger_as_it_was",
    ),
    "map_patches": Row(
        "test_where_of_a_corner_reads_and_calls_for_the_corner,"
        " test_a_run_that_is_nearly_done_reads_what_is_left",
        PERMUTED,
        "test_where_is_the_full_run_wherever_all_patches_take_part, test_streamed_is_in_memory",
        f"{BREAKS}, test_being_asked_to_stop_ends_everything,"
        " test_a_program_ends_with_its_own_traceback_and_status",
    ),
    "plan & Plan": Row(
        "test_a_plan_reads_nothing", STACKS, "test_a_plan_is_the_call_and_stays_it", BREAKS
    ),
    "Indexed": Row(
        "test_functions_of_more_than_patches_are_called_for_the_corner",
        "no: numbers of patches are those of the grid, in its own order",
        "test_numbers_of_patches_are_those_of_the_grid",
        BREAKS,
    ),
    "Weighted": Row(
        "test_functions_of_more_than_patches_are_called_for_the_corner",
        STACKS,
        "test_weights_that_come_with_patches_are_those_given_afterwards",
        BREAKS,
    ),
    "PatchMatrix": Row(
        "test_few_patches_take_as_much_memory_of_a_large_image",
        "test_a_matrix_of_permuted_axes_is_the_permuted_matrix",
        "test_rows_in_blocks_are_the_rows_at_once",
        CTRL_C,
    ),
    "masked_patchify": Row(
        FEW,
        "test_masked_windows_of_the_transposed_image_are_the_transposed_windows",
        "test_a_part_of_the_masked_view_is_that_part_of_the_whole",
        CTRL_C,
    ),
    "similar": Row(
        "test_similar_patches_of_a_corner_read_the_corner",
        "test_similar_patches_are_the_same_with_axes_in_any_order,"
        " test_similar_patches_of_the_transposed_image_are_the_transposed_ones",
        "test_a_search_that_is_narrowed_is_the_whole_search_there",
        CTRL_C,
    ),
    "Matches": Row(VALUE, VALUE, VALUE, VALUE),
    "join_labels": Row(
        "no: every tile is looked at, since any may hold a part of an object",
        "test_labels_of_transposed_tiles_are_the_transposed_objects",
        "test_labels_that_are_streamed_are_those_in_memory",
        f"{BREAKS}, {CTRL_C}",
    ),
    # models
    "learn.PatchPCA": _model._replace(
        late="test_fitting_and_transforming_in_one_call_is_one_after_the_other"
    ),
    "learn.PatchRidge": _model._replace(endings=f"{HALF}, {BREAKS}"),
    "learn.PatchLDA": _model._replace(local=f"{CORNER}, {FITTED}"),
    "learn.PatchLogisticRegression": _model,
    "learn.PatchKMeans": _model,
    "learn.PatchEstimator": Row(
        f"{CORNER}, {FITTED}",
        CHANNELS,
        f"{OF_A_FILE}, test_an_estimator_that_adds_up_is_fitted_by_batches_as_on_all_rows",
        f"{HALF}, {BREAKS}",
    ),
    "learn.PatchForestClassifier": _model._replace(local=f"{CORNER}, {FITTED}"),
    "learn.PatchForestRegressor & learn.PatchBoostingClassifier"
    " & learn.PatchBoostingRegressor": _model,
    # trainers
    "integrations.labelled_rows": Row(
        FEW,
        "test_labelled_rows_have_their_features_where_the_channels_are",
        "test_rows_in_blocks_are_the_rows_at_once",
        CTRL_C,
    ),
    "integrations.predict_rows": Row(
        FEW,
        "test_labelled_rows_have_their_features_where_the_channels_are",
        "test_rows_in_blocks_are_the_rows_at_once",
        f"{BREAKS}, test_being_asked_to_stop_ends_everything",
    ),
    "integrations.lightgbm.PatchSequence & integrations.xgboost.PatchDataIter": Row(
        FEW,
        "no: it has the rows of a PatchMatrix, in their order",
        "test_rows_for_trainers_are_those_of_the_matrix",
        CTRL_C,
    ),
    "integrations.torch.PatchDataset": Row(
        FEW,
        "no: it has the rows of a PatchMatrix, in their order",
        "test_rows_of_a_data_set_are_those_of_the_matrix",
        CTRL_C,
    ),
    "integrations.torch.BlockShuffleSampler": Row(
        "no: an epoch goes over all rows, with a pool of so many held",
        "no: it draws numbers, and sees no image",
        "test_rows_of_a_data_set_are_those_of_the_matrix",
        CTRL_C,
    ),
    "integrations.torch.TileModel": Row(
        OTHERS,
        "test_a_model_on_tiles_finds_the_channels_where_they_are",
        "test_a_model_on_tiles_is_the_same_in_any_batches",
        CTRL_C,
    ),
    # files and tiles
    "files.open_image": Row(
        "test_a_corner_of_a_file_is_read_alone",
        "test_files_with_axes_in_any_order_give_what_memory_gives",
        "test_files_with_axes_in_any_order_give_what_memory_gives",
        BREAKS,
    ),
    "files.Reader": Row(
        "no: what it is asked for, it reads",
        "no: it reads an array as it is, whatever its axes mean",
        AT_ONCE,
        BREAKS,
    ),
    "files.NpySink & files.TiffSink & files.ZarrSink & files.PictureSink & files.sink_of"
    " & files.Sink & files.Writer": Row(
        "no: a result is written once, by blocks, as map_patches has them",
        "no: it writes an array as it is, whatever its axes mean",
        "test_what_is_in_a_file_is_the_result_in_memory",
        f"{CTRL_C}, {BREAKS}",
    ),
    "tileset.write_tiles": Row(
        "no: all tiles are written",
        STACKS,
        "test_tiles_that_are_merged_later_are_those_merged_at_once,"
        " test_tiles_of_a_run_that_went_on_are_those_of_one_that_did_not",
        BREAKS,
    ),
    "tileset.merge_tiles": Row(
        "no: all tiles are merged",
        STACKS,
        "test_tiles_that_are_merged_later_are_those_merged_at_once",
        BREAKS,
    ),
    "tileset.read_manifest & tileset.Manifest": Row(FEW, STACKS, AT_ONCE, CTRL_C),
    # pictures
    "plot.grid": Row(FEW, PICTURES, AT_ONCE, CTRL_C),
    "plot.montage": Row(FEW, PICTURES, AT_ONCE, CTRL_C),
    "plot.components": Row(
        "no: it draws a model, and sees no image", PICTURES, AT_ONCE, CTRL_C
    ),
    "plot.coverage & plot.weight_sum": Row(
        FEW, "test_maps_of_the_transposed_grid_are_the_transposed_maps", AT_ONCE, CTRL_C
    ),
    # denoising
    "denoise.dct": Row(
        FEW,
        "test_a_picture_may_have_its_channels_anywhere",
        "test_denoising_does_not_depend_on_the_workers",
        BREAKS,
    ),
    "denoise.groups": Row(
        ALL,
        "test_a_picture_may_have_its_channels_anywhere",
        "test_denoising_does_not_depend_on_the_workers",
        BREAKS,
    ),
    "denoise.Pass": Row(VALUE, VALUE, VALUE, VALUE),
    # other libraries' names
    "compat.matlab.im2col & compat.matlab.col2im": _verb,
    "compat.monai.sliding_window_inference": _verb._replace(
        axes="no: MONAI's tensors are (batch, channels, *spatial)",
        late="test_windows_are_merged_here_unless_they_cannot_be",
    ),
    "compat.monai.AvgMerger": Row(
        OTHERS, "no: MONAI's tensors are (batch, channels, *spatial)", AT_ONCE, CTRL_C
    ),
    "compat.numpy.sliding_window_view": Row(
        FEW, "test_compat_verbs_that_have_axes_permute_with_them", AT_ONCE, CTRL_C
    ),
    "compat.patchify.patchify": _verb._replace(local=FEW),
    "compat.patchify.unpatchify": _verb,
    "compat.patchify.NonUniformStepSizeError": Row(VALUE, VALUE, VALUE, VALUE),
    "compat.skimage.view_as_blocks & compat.skimage.view_as_windows": _verb._replace(local=FEW),
    "compat.sklearn.extract_patches_2d": _verb._replace(
        local=FEW, axes="test_compat_verbs_that_have_axes_permute_with_them"
    ),
    "compat.sklearn.extract_patches_nd & compat.sklearn.PatchExtractor": _verb._replace(local=FEW),
    "compat.sklearn.reconstruct_from_patches_2d"
    " & compat.sklearn.reconstruct_from_patches_nd": _verb,
    "compat.tiler.Tiler & compat.tiler.Merger": _verb._replace(
        local="no: its tiles are those of one pass over the image"
    ),
    "compat.torch.fold & compat.torch.unfold": _verb._replace(
        axes="no: torch's tensors are (batch, channels, rows, columns)"
    ),
    # arrays of other libraries, which the verbs hand on
    "tensors.patchify": Row(FEW, "test_patchify", AT_ONCE, CTRL_C),
    "tensors.extract": Row(FEW, "test_extract", AT_ONCE, CTRL_C),
    "tensors.TensorPatchMatrix": Row(FEW, "test_products", AT_ONCE, CTRL_C),
    "tensors.unpatchify": Row(ALL, "test_unpatchify", AT_ONCE, CTRL_C),
    "tensors.TensorMerger": Row(
        "no: sums of arrays that cannot be written to are made anew by each add",
        "test_merger", "test_merger", CTRL_C,
    ),
    "tensors.map_patches & tensors.plan": Row(
        "test_where_of_a_corner_reads_and_calls_for_the_corner, test_a_plan_reads_nothing",
        "test_map_patches", "test_map_patches", CTRL_C,
    ),
    # the command line
    "cli.info": Row(
        FEW, "test_a_colour_picture_was_planned_3x3x3", "test_info_says_the_same_to_machines",
        "no: it reads a header, and prints",
    ),
    "cli.plan": Row(
        "test_a_plan_reads_nothing", "test_a_colour_picture_was_planned_3x3x3",
        "test_plan_says_what_map_would_do", "no: it reads a header, and prints",
    ),
    "cli.map": Row(
        ALL, "test_axes_and_channels", "test_map_through_a_function_of_the_users",
        "test_an_interrupted_map_says_how_to_go_on, test_map_refuses_in_one_line_and_leaves_nothing",
    ),
    "cli.extract": Row(
        "no: whole tiles of the grid are read, and what lies between patches with them",
        "test_map_and_extract_cut_through_colours", "test_extract_of_one_array_can_be_resumed",
        "test_ctrl_c_left_tiles_behind_and_a_kill_is_tidied,"
        " test_a_stopped_extract_ends_when_no_thread_writes",
    ),
    "cli.merge": Row(
        ALL, "test_axes_and_channels", "test_extract_and_merge",
        "test_damage_is_one_line_and_earlier_results_stay",
    ),
    "cli.denoise & cli.demo": Row(
        ALL, "no: pictures have their colours last", AT_ONCE,
        "test_denoise_noticed_a_folder_without_permission_after_its_work",
    ),
}  # fmt: skip


def rows() -> dict[str, Row]:
    """The row of each name."""
    return {name: row for key, row in TABLE.items() for name in key.split(" & ")}
