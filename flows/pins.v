// The core on five pins: a shift register drives its inputs, another takes its outputs.
//
// The core has more ports than a package has pins: they are meant for logic on the same chip. For place and route
// alone, so that every port starts and ends in a register and nothing is optimised away.
module sanger_pins #(
    parameter STREAM_BITS = 128,
    parameter ADDRESS_BITS = 9
) (
    input clk,
    input reset,
    input shift_in,
    input load,
    output shift_out
);
    localparam INPUT_BITS = STREAM_BITS + 2 * ADDRESS_BITS + 45;
    localparam OUTPUT_BITS = STREAM_BITS + 45;

    reg core_reset;
    reg [INPUT_BITS-1:0] shifted_in;
    // The ports' own registers, where the ports are. With a reset, or the shift register's next ones would be the same.
    reg [INPUT_BITS-1:0] inputs;
    reg [OUTPUT_BITS-1:0] outputs;
    reg [2:0] ready_way, out_way;  // across the part
    wire [OUTPUT_BITS-1:0] from_core;

    wire [STREAM_BITS-1:0] s_axis_tdata;
    wire s_axis_tlast, s_axis_tuser, s_axis_tvalid, ready_input;
    wire [ADDRESS_BITS-1:0] s_axil_awaddr, s_axil_araddr;
    wire [31:0] s_axil_wdata;
    wire [3:0] s_axil_wstrb;
    wire s_axil_awvalid, s_axil_wvalid, s_axil_bready, s_axil_arvalid, s_axil_rready;

    assign {s_axis_tdata, s_axis_tlast, s_axis_tuser, s_axis_tvalid, ready_input, s_axil_awaddr, s_axil_awvalid,
            s_axil_wdata, s_axil_wstrb, s_axil_wvalid, s_axil_bready, s_axil_araddr, s_axil_arvalid,
            s_axil_rready} = inputs;
    assign shift_out = out_way[2];

    always @(posedge clk) begin
        core_reset <= reset;
        ready_way <= {ready_way[1:0], ready_input};
        shifted_in <= {shifted_in[INPUT_BITS-2:0], shift_in};
        inputs <= core_reset ? {INPUT_BITS{1'b0}} : shifted_in;
        outputs <= load ? from_core : {outputs[OUTPUT_BITS-2:0], 1'b0};
        out_way <= {out_way[1:0], outputs[OUTPUT_BITS-1]};
    end

    sanger_core core (
        .clk(clk), .reset(core_reset),
        .s_axis_tdata(s_axis_tdata), .s_axis_tlast(s_axis_tlast), .s_axis_tuser(s_axis_tuser),
        .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(from_core[0]),
        .m_axis_tdata(from_core[STREAM_BITS+44:45]), .m_axis_tlast(from_core[1]), .m_axis_tuser(from_core[2]),
        .m_axis_tvalid(from_core[3]), .m_axis_tready(ready_way[2]),
        .s_axil_awaddr(s_axil_awaddr), .s_axil_awvalid(s_axil_awvalid), .s_axil_awready(from_core[4]),
        .s_axil_wdata(s_axil_wdata), .s_axil_wstrb(s_axil_wstrb), .s_axil_wvalid(s_axil_wvalid),
        .s_axil_wready(from_core[5]), .s_axil_bresp(from_core[7:6]), .s_axil_bvalid(from_core[8]),
        .s_axil_bready(s_axil_bready), .s_axil_araddr(s_axil_araddr), .s_axil_arvalid(s_axil_arvalid),
        .s_axil_arready(from_core[9]), .s_axil_rdata(from_core[41:10]), .s_axil_rresp(from_core[43:42]),
        .s_axil_rvalid(from_core[44]), .s_axil_rready(s_axil_rready)
    );
endmodule
